package dict

// A Kind is the type of a [Value]. The zero Kind is [KindNull].
//
// The kinds are those that Python programs send. A Go program meets them as
// the Go types that [From] and [Dict.To] name.
type Kind uint8

// The kinds, in the order in which docs/formats.md lists them.
const (
	KindNull Kind = iota
	KindBool
	KindInt    // of any size
	KindFloat  // IEEE 754 binary64
	KindString // Unicode text, possibly with lone surrogates
	KindList
	KindDict
	kinds // their number
)

var kindNames = [kinds]string{"null", "bool", "int", "float", "string", "list", "dict"}

// String returns the kind's name as error messages and docs write it: "int".
func (k Kind) String() string {
	if k >= kinds {
		return "unknown kind"
	}
	return kindNames[k]
}
