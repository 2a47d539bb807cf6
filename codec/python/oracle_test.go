package python_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testrand"
)

// oracle answers each document (a 4-byte length and its bytes) with Python's result: "-"
// and the error, or "+" and the value, with the items of sets sorted. It evaluates with the
// names that repr prints if its argument is eval.
const oracle = `
import ast, collections, datetime, decimal, math, struct, sys, uuid, warnings, zoneinfo
warnings.simplefilter('ignore')
class Tagged:
    def __init__(self, *args, **named): self.parts, self.names = args + tuple(named.values()), list(named)
    def __eq__(self, other): return type(self) is type(other) and self.parts == other.parts
    def __hash__(self): return hash(self.parts)
    def __repr__(self): return type(self).__name__ + '(' + ', '.join('%s=%r' % p for p in zip(self.names, self.parts)) + ')'
class CBORTag(Tagged): pass
class CBORSimpleValue(Tagged): pass
class ExtType(Tagged): pass
class Undefined:
    def __repr__(self): return 'undefined'
class Scope(dict): # whose nan is another each time, and so no key that comes twice
    def __missing__(self, name): return {'nan': float('nan'), 'nanj': complex(0, math.nan)}[name]
scope = Scope(datetime=datetime, zoneinfo=zoneinfo, Decimal=decimal.Decimal, UUID=uuid.UUID, OrderedDict=collections.OrderedDict,
    inf=math.inf, infj=complex(0, math.inf), CBORTag=CBORTag,
    CBORSimpleValue=CBORSimpleValue, ExtType=ExtType, undefined=Undefined())
def dump(v):
    t = type(v)
    if t is complex: return 'c(%r,%r)' % (v.real + 0.0, v.imag + 0.0)
    if t is list: return '[' + ', '.join(map(dump, v)) + ']'
    if t is tuple: return '(' + ', '.join(map(dump, v)) + ')'
    if t is CBORTag: return 'T(' + dump(v.parts[0]) + ', ' + dump(v.parts[1]) + ')'
    if t in (set, frozenset): return t.__name__ + '{' + ', '.join(sorted(map(dump, v))) + '}'
    if isinstance(v, dict): return t.__name__ + '{' + ', '.join(dump(k) + ': ' + dump(x) for k, x in v.items()) + '}'
    return repr(v)
def answer(b):
    try:
        text = b.decode('utf-8').strip(' \t\r\n\f')
        v = eval(text, {}, scope) if sys.argv[1] == 'eval' else ast.literal_eval(text)
        if not isinstance(v, dict): return '-not a dictionary'
        return '+' + dump(v)
    except Exception as error:
        return '-' + repr(error)
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
while head := read(4):
    out = answer(read(*struct.unpack('>I', head))).encode()
    write(struct.pack('>I', len(out)) + out)
`

func ask(t *testing.T, how string, documents [][]byte) []string {
	t.Helper()
	return codectest.AskPython(t, oracle, documents, how)
}

// dump writes a value as the oracle does.
func dump(v dict.Value) string {
	items := func() (all []string) {
		for item := range v.Items() {
			all = append(all, dump(item))
		}
		return all
	}
	switch v.Kind() {
	case dict.KindComplex:
		c, _ := v.Complex()
		return fmt.Sprintf("c(%v,%v)", dict.Float(real(c)+0), dict.Float(imag(c)+0))
	case dict.KindList:
		return "[" + strings.Join(items(), ", ") + "]"
	case dict.KindTuple:
		return "(" + strings.Join(items(), ", ") + ")"
	case dict.KindSet, dict.KindFrozenSet:
		all := items()
		slices.Sort(all) // by bytes, which in UTF-8 is by code point as in Python
		return v.Kind().String() + "{" + strings.Join(all, ", ") + "}"
	case dict.KindDict, dict.KindOrderedDict:
		var all []string
		for k, item := range v.Pairs() {
			all = append(all, dump(k)+": "+dump(item))
		}
		of := "dict{"
		if v.Kind() == dict.KindOrderedDict {
			of = "OrderedDict{"
		}
		return of + strings.Join(all, ", ") + "}"
	case dict.KindTagged:
		if space, tag, inner, _ := v.Tagged(); space == dict.CBORTag {
			return "T(" + dump(tag) + ", " + dump(inner) + ")"
		}
	default: // its repr
	}
	return string(dict.AppendRepr(nil, v, dict.Python311))
}

// Python evaluates what we write to the same value, and we can read it.
func TestAppendAgainstPython(t *testing.T) {
	untimed := slices.DeleteFunc(slices.Clone(keys), func(k dict.Kind) bool { return k == dict.KindDateTime || k == dict.KindTime })
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), untimed)
	g.Holds = holds
	documents := make([][]byte, testrand.Many(20_000))
	want := make([]string, len(documents))
	c := python.Codec{Python: dict.Python311}
	for i := range documents {
		d := g.Dict()
		want[i] = "+" + dump(d.Value())
		documents[i], _ = c.Append(nil, d)
		back, err := c.Decode(documents[i], codec.Limits{})
		if err != nil || "+"+dump(back.Value()) != want[i] {
			t.Fatalf("%s\nis read as %v, %v", documents[i], back, err)
		}
	}
	for i, got := range ask(t, "eval", documents) {
		if got != want[i] {
			at := 0
			for at < min(len(got), len(want[i])) && got[at] == want[i][at] {
				at++
			}
			at = max(at-40, 0)
			t.Fatalf("%s\npython …%.200s\nwe     …%.200s", documents[i], got[at:], want[i][at:])
		}
	}
}

// tokens are parts of literals, and things that look like them.
var tokens = []string{
	"{", "}", "[", "]", "(", ")", ",", ":", "'", `"`, "'''", `"""`, "''", "'a'", `"b"`, "b'x'", `rb'\x'`, "Rb'y'", "u'é'", "ur'x'", "f'x'", "bb'x'",
	"r'\\'", `r'\''`, `'\''`, `'\x41'`, `'\x4'`, `'\101'`, `'\777'`, `b'\777'`, `b'\xff'`, `b'\u0041'`, `b'é'`, `'\u00e9'`, `'\ud800'`, `'\ud83d\ude00'`, `'\U0001F600'`,
	`'\U00110000'`, `'\q'`, "'a\\\nb'", "'''x\ny'''", "'''x\r\ny''z'''", "'a\nb'", "'a\\\r\nb'", "'\\\rb'",
	"0", "1", "-1", "+1", "--1", "- 1", "-(1)", "(-1)", "01", "00", "0_0", "1_0", "1__0", "1_", "_1", "0x1F", "0X_f", "0x", "0b102", "0b11", "0o17", "0o8", "1e5", "1E+5", "1e", "1e+",
	"1.", ".5", "1._5", "1_.5", "1.5e1_0", "01.5", "0_1.5", "01e1", "1e400", "-1e-400", "1j", "1J", "01j", "1.5e1j", "1+2j", "-1-2j", "1 + 2j", "1j+2", "1+2", "1+-2j", "(1)+(2j)", "1+2j+3j", "-0-0j", "1j-1j",
	"123456789012345678901234567890", "-9223372036854775808", "9223372036854775807", "1if", "1or", "0xfor", "1.real", "1..",
	"True", "False", "None", "true", "nan", "-True", "None1", "set()", "set ( )", "set(1)", "frozenset()", "dict()", "{}", "()", "(1,)", "(,)", "[,]", "{,}", "{1,}", "{1:2,}", "{1,2:3}", "{1:2,3}", "{*x}", "{**x}", "{1,1}", "{[]}", "{():1}", "{[]:1}", "{(1,[]):1}", "{1:2, 1.0:3}",
	" ", "\t", "\n", "\r", "\r\n", "\f", "\v", "\\\n", "\\ \n", "\\", "\u00a0", "\ufeff", "\x00", "\xff", "\xc3", ";", "=", "@", "$", "!", "~1", "not 1", "lambda: 1", "x", "x.y", "x()", "1 2", "'a' 1", "('a')'b'", "'a'('b')", "'a' 'b'", "'a' b'b'",
}

// literal returns a literal, or almost one.
func literal(g *codectest.Generator) []byte {
	b, _ := python.Codec{Python: dict.Python311}.Append(nil, g.Dict())
	if g.IntN(3) == 0 { // tokens in any order
		b = []byte("{")
		for n := range g.IntN(8) {
			b = append(b, tokens[g.IntN(len(tokens))]...)
			b = append(b, []string{":", ",", ", ", " ", ""}[min(n%2+g.IntN(3), 4)]...)
		}
		return append(b, '}')
	}
	for g.IntN(3) > 0 {
		i := g.IntN(len(b) + 1)
		token := tokens[g.IntN(len(tokens))]
		switch g.IntN(6) {
		case 0:
			b = slices.Insert(b, i, []byte(token)...)
		case 1:
			b = slices.Delete(b, i, min(i+1+g.IntN(3), len(b)))
		case 2:
			b = slices.Insert(b, i, byte(g.IntN(128)))
		case 3, 4: // instead of a value
			if at := bytes.IndexAny(b[i:], ":,"); at >= 0 {
				b = append(append(b[:i+at+1:i+at+1], token...), b[min(i+at+2+g.IntN(3), len(b)):]...)
			}
		default:
			if g.IntN(8) == 0 {
				b = b[:i]
			}
		}
	}
	return b
}

// We accept what literal_eval accepts, with the same value, and nothing else, except for
// what the package comment lists.
func TestAgainstLiteralEval(t *testing.T) {
	literals := []dict.Kind{
		dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindComplex, dict.KindString, dict.KindBytes,
		dict.KindList, dict.KindTuple, dict.KindSet, dict.KindDict,
	}
	g := codectest.NewGenerator(codectest.Seed(t), literals, []dict.Kind{dict.KindNull, dict.KindInt, dict.KindString, dict.KindBytes, dict.KindTuple})
	g.Holds = func(v dict.Value) bool { // these are names, not literals
		text := v.String()
		return v.Kind() != dict.KindFloat && v.Kind() != dict.KindComplex || !strings.Contains(text, "n")
	}
	var documents [][]byte
	for len(documents) < testrand.Many(30_000) {
		b := literal(g)
		if !bytes.ContainsAny(b, "#") && !bytes.Contains(b, []byte(`\N`)) && !bytes.Contains(b, []byte("...")) && !bytes.ContainsAny(bytes.TrimSpace(b)[:min(1, len(bytes.TrimSpace(b)))], `(\`) {
			documents = append(documents, b)
		}
	}
	accepted := 0
	for i, want := range ask(t, "literal", documents) {
		b := documents[i]
		d, err := python.Codec{}.Decode(b, codec.Limits{})
		if isCode(err, fault.DuplicateKey) && want[0] == '+' || isBeyond(b) {
			continue
		}
		got := fmt.Sprintf("-%v", err)
		if err == nil {
			got = "+" + dump(d.Value())
			accepted++
		}
		if got[0] != want[0] || got[0] == '+' && got != want {
			t.Fatalf("%q\npython %s\nwe     %s", b, want, got)
		}
	}
	if accepted < len(documents)/8 || accepted > len(documents)*7/8 {
		t.Errorf("%d of %d were accepted: the test is lopsided", accepted, len(documents))
	}
}

// isBeyond reports whether b may contain what only repr prints.
func isBeyond(b []byte) bool {
	return bytes.Contains(b, []byte("nan")) || bytes.Contains(b, []byte("frozenset"))
}

func isCode(err error, c fault.Code) bool {
	bad, ok := err.(*codec.SyntaxError) //nolint:errorlint // Decode wraps nothing
	return ok && bad.Code == c
}
