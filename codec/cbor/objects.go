package cbor

// An Object is a kind of generic object: tag 27 in front of a list of a name and
// arguments, by which CBOR holds what it has no tag for. Names and arguments never
// change their meaning.
type Object struct {
	Name string // "tuple"
	Args string // in the notation of RFC 8610 (CDDL)
	Text string // what it stands for
}

// Objects returns all generic objects that the codec knows, in the order of their
// names. Others are kept as tagged values.
func Objects() []Object {
	return []Object{
		{"Decimal", "text", "a decimal as Python's str prints it, where tag 4 can't hold it: Infinity, -Infinity, NaN, sNaN123, -0.00"},
		{"OrderedDict", "{* any => any}", "an ordered dictionary"},
		{"bytearray", "bytes", "a bytearray"},
		{"datetime", `text, ? (fold: 0 / 1, ? zone)`, "a datetime, 2024-01-02T03:04:05.000006; without a zone it is naive. " +
			"zone is text, a name in the time zone database; or an offset from UTC in microseconds, and, where it has one, its name"},
		{"frozenset", "[* any]", "a frozenset; within a key it is tag 258"},
		{"msgpack.ExtType", "code: -128..127, bytes", "a MessagePack extension"},
		{"time", `text, ? (fold: 0 / 1, ? zone)`, "a time of day, 03:04:05.000006; fold and zone as for a datetime"},
		{"timedelta", "days: int, seconds: int, microseconds: int", "a negative timedelta in its normal form; the others are tag 1002"},
		{"tuple", "[* any]", "a tuple; within a key it is a list"},
	}
}

const (
	objDecimal     = "Decimal"
	objOrderedDict = "OrderedDict"
	objByteArray   = "bytearray"
	objDateTime    = "datetime"
	objFrozenSet   = "frozenset"
	objExtType     = "msgpack.ExtType"
	objTime        = "time"
	objTimeDelta   = "timedelta"
	objTuple       = "tuple"
)

// isObject reports whether the codec knows generic objects of that name.
func isObject(name []byte) bool {
	switch string(name) {
	case objDecimal, objOrderedDict, objByteArray, objDateTime, objFrozenSet, objExtType, objTime, objTimeDelta, objTuple:
		return true
	default:
		return false
	}
}

// The tags that the codec knows.
const (
	tagDateTime   = 0    // RFC 8949 §3.4.1
	tagEpoch      = 1    // §3.4.2
	tagBignum     = 2    // §3.4.3
	tagNegBignum  = 3    // §3.4.3
	tagDecimal    = 4    // §3.4.4
	tagStringRef  = 25   // refused
	tagObject     = 27   // http://cbor.schmorp.de/generic-object
	tagShareable  = 28   // refused
	tagSharedRef  = 29   // refused
	tagUUID       = 37   // RFC 9562
	tagDays       = 100  // RFC 8943
	tagStringRefs = 256  // refused
	tagSet        = 258  // https://github.com/input-output-hk/cbor-sets-spec
	tagWTF8       = 273  // https://github.com/svaarala/cbor-specs
	tagDuration   = 1002 // RFC 9581 §4
	tagDate       = 1004 // RFC 8943
	tagComplex    = 43000
	selfDescribed = 55799 // RFC 8949 §3.4.6
)

// hasKind reports whether values behind a tag are of another kind than tagged, or
// are refused.
func hasKind(tag uint64) bool {
	switch tag {
	case tagDateTime, tagEpoch, tagBignum, tagNegBignum, tagDecimal, tagStringRef, tagShareable, tagSharedRef,
		tagUUID, tagDays, tagStringRefs, tagSet, tagWTF8, tagDuration, tagDate, tagComplex:
		return true
	default:
		return false
	}
}
