package json_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testrand"
)

// python answers each document (a 4-byte length and its bytes) with the result of
// json.loads: "-" and the error, or "+" and the value with its types. Floats are written as
// bits, texts as code points.
const python = `
import json, struct, sys
def dump(v):
    if v is None or v is True or v is False: return repr(v)
    if isinstance(v, int): return 'i%d' % v
    if isinstance(v, float): return 'f' + ('nan' if v != v else struct.pack('>d', v).hex())
    if isinstance(v, str): return 's' + v.encode('utf-8', 'surrogatepass').hex()
    if isinstance(v, list): return '[' + ','.join(map(dump, v)) + ']'
    return '{' + ','.join(dump(k) + ':' + dump(x) for k, x in v.items()) + '}'
def answer(b):
    try:
        v = json.loads(b.decode('utf-8'))
    except ValueError as error:
        return '-' + str(error)
    return '+' + dump(v) if isinstance(v, dict) else '-not a dictionary'
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
while head := read(4):
    out = answer(read(*struct.unpack('>I', head))).encode()
    write(struct.pack('>I', len(out)) + out)
`

// dump writes a value as the python script does.
func dump(v dict.Value) string {
	switch v.Kind() {
	case dict.KindInt:
		return "i" + string(v.AppendInt(nil))
	case dict.KindFloat:
		f, _ := v.Float()
		if f != f {
			return "fnan"
		}
		b, _ := binary.Append(nil, binary.BigEndian, f)
		return "f" + hex.EncodeToString(b)
	case dict.KindDecimal: // without a near float, Python has ±inf or ±0 instead
		text, _ := v.DecimalText()
		f, _ := strconv.ParseFloat(text, 64)
		return dump(dict.Float(f))
	case dict.KindString:
		b, _ := v.TextBytes()
		return "s" + hex.EncodeToString(b)
	case dict.KindList:
		var parts []string
		for item := range v.Items() {
			parts = append(parts, dump(item))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case dict.KindDict:
		var parts []string
		for k, item := range v.Pairs() {
			parts = append(parts, dump(k)+":"+dump(item))
		}
		return "{" + strings.Join(parts, ",") + "}"
	default:
		return v.String()
	}
}

// tokens are parts of JSON, and things that look like it.
var tokens = []string{
	`{`, `}`, `[`, `]`, `,`, `:`, `"`, `"a"`, `"b"`, `"\u0061"`, `""`, `"\ud800"`, `"\udc00\ud83d\ude00"`,
	`"\ud83d"`, `"\ud83d\u0041"`, `"\uD83D\uDE00"`, `"\/\b\f\n\r\t\"\\"`, `"0123456789abcdef"`, `"é漢😀"`,
	`0`, `-0`, `1`, `01`, `-01`, `1.`, `.5`, `1.5`, `-`, `--1`, `+1`, `1e5`, `1E+400`, `-1e-400`, `1e`, `1e+`, `0e0`, `0.0`, `-0.0`,
	`0x1`, `1_0`, `123456789012345678901234567890`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775808`,
	`-9223372036854775809`, `999999999999999999`, `1000000000000000000`, `2.2250738585072011e-308`, `1.7976931348623159e308`,
	`NaN`, `-NaN`, `Infinity`, `-Infinity`, `Inf`, `nan`, `true`, `false`, `null`, `True`, `None`, `tru`, `nul`, `truefalse`,
	" ", "\n", "\r", "\t", "\v", "\f", "\u00a0", "\u2028", "\ufeff", "\x00", "\x1e", "\x1f", "\x7f",
	"\xff", "\x80", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", `\`, `\u12`, `"\x"`, `"\u12g4"`, "\"\x01\"", "'a'", "//",
}

// document returns JSON, or almost JSON.
func document(g *codectest.Generator) []byte {
	if g.IntN(8) == 0 { // often duplicate keys
		b := []byte("{")
		for i := range 1 + g.IntN(4) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, []string{`"a"`, `"\u0061"`, `"b"`}[g.IntN(3)]...), ':')
			b = append(b, []string{`1`, `"x"`, `[true]`, `{"a":1,"a":2}`}[g.IntN(4)]...)
		}
		return append(b, '}')
	}
	if g.IntN(3) == 0 { // tokens in any order
		b := []byte("{")
		for range g.IntN(12) {
			b = append(b, tokens[g.IntN(len(tokens))]...)
		}
		return append(b, '}')
	}
	b, err := json.Codec{}.Append(nil, g.Dict())
	if err != nil {
		panic(err)
	}
	for g.IntN(2) == 0 {
		i := g.IntN(len(b) + 1)
		token := tokens[g.IntN(len(tokens))]
		switch g.IntN(5) {
		case 0:
			b = slices.Insert(b, i, []byte(token)...)
		case 1:
			b = slices.Delete(b, i, min(i+1+g.IntN(3), len(b)))
		case 2:
			b = slices.Insert(b, i, byte(g.Uint32()))
		case 3: // instead of a value
			if at := bytes.IndexByte(b[i:], ':'); at >= 0 {
				b = append(append(b[:i+at+1:i+at+1], token...), b[min(i+at+2, len(b)):]...)
			}
		default:
			b = b[:i]
		}
	}
	return b
}

// We accept what Python accepts, with the same value, and nothing else.
func TestAgainstPython(t *testing.T) {
	g := generator(t)
	documents := make([][]byte, testrand.Many(40_000))
	for i := range documents {
		documents[i] = document(g)
	}
	accepted, twice := 0, 0
	for i, want := range codectest.AskPython(t, python, documents) {
		b := documents[i]
		d, err := json.Codec{DuplicateKeys: json.KeepLast}.Decode(b, codec.Limits{})
		got := fmt.Sprintf("-%v", err)
		if err == nil {
			got = "+" + dump(d.Value())
			accepted++
		}
		if isCode(err, fault.OverLimit) && want[0] == '+' {
			continue // an exponent beyond Python's decimals
		}
		if got[0] != want[0] || got[0] == '+' && got != want {
			t.Errorf("%q\npython %s\nwe     %s", b, want, got)
		}
		// By default, the only difference is duplicate keys.
		strict, err := json.Codec{}.Decode(b, codec.Limits{})
		switch {
		case got[0] == '-' && err == nil:
			t.Errorf("%q: accepted by default only", b)
		case got[0] == '+' && err != nil:
			if !isCode(err, fault.DuplicateKey) {
				t.Errorf("%q: refused by default only: %v", b, err)
			}
			twice++
		case got[0] == '+' && !strict.Equal(d):
			t.Errorf("%q: %v by default, else %v", b, strict, d)
		}
		if t.Failed() {
			return
		}
	}
	if accepted < len(documents)/5 || accepted > len(documents)*4/5 || twice == 0 {
		t.Errorf("%d of %d were accepted, %d with a key that comes twice: the test is lopsided", accepted, len(documents), twice)
	}
}

// We accept what strict jsontext accepts; of what it refuses, we accept only what Python
// writes.
func TestAgainstJSONText(t *testing.T) {
	g := generator(t)
	for range testrand.Many(40_000) {
		b := document(g)
		_, err := json.Codec{}.Decode(b, codec.Limits{})
		trimmed := bytes.Trim(b, " \t\r\n") // JSON's white space
		strict := jsontext.Value(trimmed).IsValid() && bytes.HasPrefix(trimmed, []byte("{"))
		if strict && err != nil && !isCode(err, fault.OverLimit) {
			t.Fatalf("%q: jsontext accepts it, we say %v", b, err)
		}
		text := string(b)
		pythons := strings.Contains(text, "NaN") || strings.Contains(text, "Infinity") || strings.Contains(strings.ToLower(text), `\ud`)
		if !strict && err == nil && !pythons {
			t.Fatalf("%q: jsontext refuses it, we do not", b)
		}
	}
}

// Python reads what we write as the same value, and writes it the same way.
func TestAppendAgainstPython(t *testing.T) {
	g := generator(t)
	documents := make([][]byte, testrand.Many(20_000))
	want := make([]string, len(documents))
	g.Holds = func(v dict.Value) bool { return v.Kind() != dict.KindDecimal && !v.HasSurrogatePairs() } // Python would write another number
	for i := range documents {
		d := g.Dict()
		want[i] = "+" + dump(d.Value())
		var err error
		if documents[i], err = (json.Codec{}).Append(nil, d); err != nil {
			t.Fatal(err)
		}
	}
	for i, got := range codectest.AskPython(t, python, documents) {
		if got != want[i] {
			t.Fatalf("%q\npython %s\nwe     %s", documents[i], got, want[i])
		}
	}
	const write = `
import json, sys
for line in sys.stdin:
    text = json.dumps(json.loads(line), ensure_ascii=False, separators=(',', ':'))
    print(''.join(c if not '\ud800' <= c <= '\udfff' else '\\u%04x' % ord(c) for c in text))
`
	cmd := exec.Command("/usr/bin/python3", "-X", "utf8", "-c", write)
	in := append(bytes.Join(documents, []byte("\n")), '\n')
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := bytes.Split(in, []byte("\n")), bytes.Split(out, []byte("\n"))
	for i := range ours {
		if !bytes.Equal(ours[i], theirs[i]) {
			t.Fatalf("we     %q\npython %q", ours[i], theirs[i])
		}
	}
}

func isCode(err error, c fault.Code) bool {
	bad, ok := err.(*codec.SyntaxError) //nolint:errorlint // Decode wraps nothing
	return ok && bad.Code == c
}
