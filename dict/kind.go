package dict

// A Kind is the type of a [Value]. The zero Kind is [KindNull].
//
// The kinds are those of Python programs. [From] and [Dict.To] list the corresponding Go
// types.
type Kind uint8

// The kinds, in the order in which docs/formats.md lists them: scalars, then
// containers.
const (
	KindNull Kind = iota
	KindBool
	KindInt       // of any size
	KindFloat     // IEEE 754 binary64
	KindComplex   // two floats
	KindDecimal   // a decimal float of any size: Python's decimal.Decimal
	KindString    // Unicode text, possibly with lone surrogates
	KindBytes     //
	KindByteArray // bytes that Python can change, and not hash
	KindUUID
	KindDateTime // naive, with a fixed offset, or in a named zone
	KindDate
	KindTime // of day
	KindTimeDelta
	KindList
	KindTuple
	KindSet         // hashable items, each once, in order of insertion
	KindFrozenSet   // the same, and hashable itself
	KindDict        //
	KindOrderedDict // Python's collections.OrderedDict
	KindTagged      // a value of a format for which Python has no type: see [Tagged]
	kinds           // their number
)

var kindNames = [kinds]string{
	"null", "bool", "int", "float", "complex", "decimal", "string", "bytes", "bytearray", "uuid",
	"datetime", "date", "time", "timedelta",
	"list", "tuple", "set", "frozenset", "dict", "ordered dict", "tagged value",
}

// String returns the kind's name in error messages and documentation: "int".
func (k Kind) String() string {
	if k >= kinds {
		return "unknown kind"
	}
	return kindNames[k]
}

// withArticle returns the kind's name in a sentence: "an int".
func (k Kind) withArticle() string {
	if k == KindInt || k == KindOrderedDict {
		return "an " + k.String()
	}
	return "a " + k.String()
}

// Kinds returns all kinds, in order.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// IsContainer reports whether values of kind k hold other values.
func (k Kind) IsContainer() bool { return k >= KindList }

// IsDict reports whether k is one of the two kinds of dictionary.
func (k Kind) IsDict() bool { return k == KindDict || k == KindOrderedDict }

// hasItems reports whether values of kind k are sequences or sets.
func (k Kind) hasItems() bool { return k >= KindList && k <= KindFrozenSet }

// hasText reports whether values of kind k have their content as bytes in the tape.
func (k Kind) hasText() bool { return k >= KindComplex && k <= KindUUID }
