package pickle

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A pickle that names a global which is not in the allowlist is refused. It is still run to
// its end, with empty objects for that global and its results, so that the refusal can say
// where in the dictionary the value is, and how to make its type plain data. Only one is
// reported: the first in the dictionary, or otherwise the first of all.
type foreign struct {
	n     int           // how many globals
	hit   uint64        // 1 + the object that writeOut met
	names [8]globalName // the first ones; the last is also that of those beyond
}

type globalName struct {
	module, name []byte
	at           int // the opcode
}

// foreignKind is the kind of an object that is refused: its first is the place of the
// name, its n a set of shapes.
const foreignKind dict.Kind = 255

// What was seen of an object that is refused.
const (
	called     = 1 << iota // REDUCE
	made                   // NEWOBJ
	noArgs                 // without arguments
	oneScalar              // with one, a number or a string
	manyArgs               // with several
	withPairs              // SETITEM
	withItems              // APPEND
	withSet                // ADDITEMS, or a list as the argument
	withState              // BUILD with a dictionary
	withSlots              // BUILD with something else
	enumMember             // getattr
)

func (m *machine) pushForeign(module, name []byte) {
	f := &m.foreign
	at := min(f.n, len(f.names)-1)
	f.names[at] = globalName{module, name, m.at}
	f.n++
	v := m.object(foreignKind, sealed)
	m.objects[v.data].first = uint32(at)
	m.push(v)
}

func (m *machine) isForeign(v value) bool {
	return v.kind() == kindRef && m.objects[v.data].kind == foreignKind
}

// foreignCall pops a refused callable, or one that gets it, and its arguments from the
// stack, if they are there, and pushes an object for the result.
func (m *machine) foreignCall(how uint32) bool {
	callee, tuple := m.top(1), m.top(0)
	if m.foreign.n == 0 || tuple.kind() != kindRef || m.objects[tuple.data].kind != dict.KindTuple {
		return false
	}
	args := m.itemsOf(&m.objects[tuple.data])
	if callee.kind() == kindGlobal && len(args) > 0 && m.isForeign(args[0]) {
		switch callee.data {
		case globalGetattr:
			how = enumMember
		case globalReconstructor: // of protocols 0 and 1: class, base, state of the base
			how = made | noArgs
			if len(args) == 3 && args[2].kind() != kindNull {
				how = made | oneScalar
				if args[2].kind() == kindRef {
					switch k := m.objects[args[2].data].kind; {
					case k.IsDict():
						how = made | withPairs
					case k == dict.KindTuple:
						how = made | manyArgs
					default:
						how = made | withItems
					}
				}
			}
		default:
			return false
		}
		callee, args = args[0], nil
	}
	if !m.isForeign(callee) {
		return false
	}
	switch {
	case how&(enumMember|noArgs|oneScalar|manyArgs|withPairs|withItems) != 0:
	case len(args) == 0:
		how |= noArgs
	case len(args) > 1:
		how |= manyArgs
	case args[0].kind() != kindRef:
		how |= oneScalar
	case m.objects[args[0].data].kind == dict.KindList && how == called:
		how |= withSet
	}
	m.drop(2)
	name := m.objects[callee.data].first
	v := m.object(foreignKind, sealed)
	o := &m.objects[v.data]
	o.first, o.n = name, how
	m.push(v)
	return true
}

func (m *machine) foreignState(v, state value) {
	o := &m.objects[v.data]
	if state.kind() == kindRef && m.objects[state.data].kind.IsDict() {
		o.n |= withState
	} else {
		o.n |= withSlots
	}
	m.drop(1)
}

func (m *machine) foreignItems(v value, of dict.Kind) {
	o := &m.objects[v.data]
	switch of {
	case dict.KindDict:
		o.n |= withPairs
	case dict.KindSet:
		o.n |= withSet
	default:
		o.n |= withItems
	}
}

// refusal returns the error of a pickle that names globals outside the allowlist.
func (m *machine) refusal() *codec.SyntaxError {
	path, shape, name := "", uint32(0), m.foreign.names[0]
	if hit := m.foreign.hit; hit > 0 {
		if m.err != nil {
			path = m.err.Path
		}
		shape = m.objects[hit-1].n
		name = m.foreign.names[m.objects[hit-1].first]
	}
	full := string(name.module) + "." + string(name.name)
	if strings.ContainsFunc(full, func(r rune) bool { return r == utf8.RuneError || !unicode.IsGraphic(r) }) {
		full = fmt.Sprintf("%q", full)
	}
	m.at = name.at
	m.fail(fault.UnsafePickle, full+" is refused: a pickle is read as data only")
	m.err.Path = path
	m.err.Hint = remedy(string(name.module), string(name.name), shape, m.foreign.hit > 0)
	return m.err
}

// remedy says how a value x of a type is made plain data, by what its pickle shows.
func remedy(module, name string, shape uint32, isValue bool) string {
	var expression string
	top, _, _ := strings.Cut(module, ".")
	switch {
	case !isValue:
		return hintData
	case top == "numpy" || top == "torch" || top == "array":
		expression = "x.tolist()"
	case top == "pandas" && name == "DataFrame":
		expression = "x.to_dict('list')"
	case top == "pandas":
		expression = "x.tolist(), or str(x) of a Period or the like"
	case isException(name):
		expression = "str(x), or repr(x)"
	case shape == 0:
		expression = "its name, x.__name__"
	case shape&withPairs != 0:
		expression = "dict(x)"
	case shape&withItems != 0:
		expression = "list(x)"
	case shape&withSet != 0:
		expression = "list(x)"
	case shape&enumMember != 0:
		expression = "x.value"
	case shape&withSlots != 0:
		expression = "dataclasses.asdict(x) of a dataclass, or {k: getattr(x, k) for k in x.__slots__}"
	case shape&withState != 0:
		expression = "vars(x), or dataclasses.asdict(x) of a dataclass"
	case shape&made != 0 && shape&manyArgs != 0:
		expression = "x._asdict() of a named tuple, or tuple(x)"
	case shape&made != 0 && shape&oneScalar != 0:
		expression = "x._asdict() of a named tuple, or int(x), float(x) or str(x), of which it is a subclass"
	case shape&made != 0 && shape&noArgs != 0:
		expression = "None: it holds nothing"
	case shape&oneScalar != 0:
		expression = "x.value of an Enum's member (member.value), or str(x)"
	default:
		expression = "str(x), or a dictionary of its parts"
	}
	return "send plain data in its place: " + expression
}

func isException(name string) bool {
	for _, end := range []string{"Error", "Exception", "Warning", "Interrupt", "Exit", "Iteration"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
