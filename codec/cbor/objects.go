package cbor

import (
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// An Object is a kind of generic object: tag 27 before a list of a name and arguments, by
// which CBOR represents what has no tag of its own. Names and arguments never change their
// meaning.
type Object struct {
	Name string // "tuple"
	Args string // in the notation of RFC 8610 (CDDL)
	Text string // what it represents
}

// Objects returns all generic objects that the codec knows, in the order of their
// names. Others are kept as tagged values.
func Objects() []Object {
	return []Object{
		{"Decimal", "text", "a decimal as Python's str prints it, where tag 4 can't hold it: Infinity, -Infinity, NaN, sNaN123, -0.00"},
		{"OrderedDict", "{* any => any}", "an ordered dictionary"},
		{"bytearray", "bytes", "a bytearray"},
		{"datetime", `text, ? (fold: 0 / 1, ? zone)`, "a datetime, 2024-01-02T03:04:05.000006, or with 9 digits of a second; without a zone it is naive. " +
			"zone is text, a name in the time zone database; or an offset from UTC in microseconds, and, where it has one, its name"},
		{"frozenset", "[* any]", "a frozenset; within a key it is tag 258"},
		{"msgpack.ExtType", "code: -128..127, bytes", "a MessagePack extension"},
		{"str", "bytes", "a string in which a high surrogate stands directly before a low one, as two code points, which tag 273 can't hold: " +
			"as Python's encode('utf-8', 'surrogatepass') writes it"},
		{"time", `text, ? (fold: 0 / 1, ? zone)`, "a time of day, 03:04:05.000006; fold and zone as for a datetime"},
		{"timedelta", "days: int, seconds: int, microseconds: int, ? nanoseconds: int", "a negative timedelta in its normal form; the others are tag 1002"},
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
	objStr         = "str"
	objTime        = "time"
	objTimeDelta   = "timedelta"
	objTuple       = "tuple"
)

// isObject reports whether the codec knows generic objects of that name.
func isObject(name []byte) bool {
	switch string(name) {
	case objDecimal, objOrderedDict, objByteArray, objDateTime, objFrozenSet, objExtType, objStr, objTime, objTimeDelta, objTuple:
		return true
	default:
		return false
	}
}

// object reads the generic object whose tag is at i and whose content is at k.
func (p *parser) object(buf []byte, i, k int) int {
	if k >= len(buf) {
		return p.Stop(buf, i, k+1)
	}
	if buf[k]>>5 != array {
		return p.unknownTag(buf, i, k, tagObject)
	}
	at, count := p.argumentOf(buf, i, k)
	if at < 0 {
		return at
	}
	if at >= len(buf) && count > 0 {
		return p.Stop(buf, i, at+1)
	}
	if count == 0 || buf[at]>>5 != textString {
		return p.unknownTag(buf, i, k, tagObject)
	}
	if buf[at]&31 == indefinite {
		return p.Unexpected(buf, at, "an object's name of definite length")
	}
	from, size := p.argumentOf(buf, i, at)
	if from < 0 {
		return from
	}
	if size > maxName {
		return p.unknownTag(buf, i, k, tagObject)
	}
	end := from + int(size)
	if end > len(buf) {
		return p.Stop(buf, i, end)
	}
	name := buf[from:end]
	var kind dict.Kind
	switch string(name) {
	case objTuple:
		kind = dict.KindTuple
	case objFrozenSet:
		kind = dict.KindFrozenSet
	case objOrderedDict:
		kind = dict.KindOrderedDict
	default:
		if !isObject(name) {
			return p.unknownTag(buf, i, k, tagObject)
		}
		n, last := p.argList(buf, i, k, array)
		if last < 0 {
			return last
		}
		return p.added(buf, i, last, p.objectValue(name, p.args[1:n]))
	}
	if count != 2 {
		return p.Fail(buf, fault.Malformed, k, "want a list of the name "+string(name)+" and one argument, of definite length")
	}
	return p.container(buf, i, end, kind)
}

const maxName = 32 // longer names are not known

// objectValue builds a generic object.
func (p *parser) objectValue(name []byte, args []arg) string {
	const problem = "an object's name and arguments as the table of objects has them"
	switch string(name) {
	case objByteArray:
		if len(args) != 1 || args[0].kind != dict.KindBytes {
			return problem
		}
		if p.B != nil {
			p.B.OwnRef(dict.KindByteArray, append(p.B.Own(), args[0].text...))
		}
		return ""
	case objDecimal:
		if len(args) != 1 || args[0].kind != dict.KindString {
			return problem
		}
		return p.decimalText(args[0].text)
	case objStr:
		if len(args) != 1 || args[0].kind != dict.KindBytes {
			return problem
		}
		return p.surrogatePass(args[0].text)
	case objExtType:
		if len(args) != 2 || args[1].kind != dict.KindBytes {
			return problem
		}
		code, ok := args[0].int()
		if !ok || code < -128 || code > 127 {
			return problem
		}
		if p.B != nil {
			at := p.B.OpenTagged(dict.MessagePackExt)
			p.B.Int(code)
			p.B.OwnRef(dict.KindBytes, append(p.B.Own(), args[1].text...))
			p.B.Close(at, 2)
		}
		return ""
	case objTimeDelta:
		if len(args) != 3 && len(args) != 4 {
			return problem
		}
		var n [4]int64
		for i := range args {
			var ok bool
			if n[i], ok = args[i].int(); !ok || n[i] < -1e12 || n[i] > 1e12 {
				return problem
			}
		}
		seconds := n[1] + n[2]/1e6 + n[3]/1e9
		nanos := n[2]%1e6*1000 + n[3]%1e9
		days := n[0] + seconds/86_400
		if days < -1e9 || days > 1e9 {
			return problem
		}
		v, err := dict.TimeDelta{
			Days: int(days), Seconds: int(seconds % 86_400), Microseconds: int(nanos / 1000), Nanoseconds: int(nanos % 1000),
		}.Value()
		return p.add(v, err, problem)
	case objDateTime:
		return p.clockObject(args, true, problem)
	default: // objTime
		return p.clockObject(args, false, problem)
	}
}
