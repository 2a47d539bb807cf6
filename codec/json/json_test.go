package json_test

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/corpus"
)

var (
	kinds = []dict.Kind{
		dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindDecimal, dict.KindString, dict.KindList, dict.KindDict,
	}
	keys = []dict.Kind{dict.KindString}
)

// holds reports whether JSON can represent a value of one of the kinds: not decimals
// without a near float, nor strings with pairs of surrogates as two code points.
func holds(v dict.Value) bool {
	if v.Kind() != dict.KindDecimal {
		return !v.HasSurrogatePairs()
	}
	text, _ := v.DecimalText()
	_, digits, _, finite := v.DecimalParts()
	f, _ := strconv.ParseFloat(text, 64)
	return finite && string(digits) != "0" && (f == 0 || math.IsInf(f, 0))
}

func generator(t *testing.T) *codectest.Generator {
	g := codectest.NewGenerator(codectest.Seed(t), kinds, keys)
	g.Holds = holds
	return g
}

func TestCodec(t *testing.T) {
	codectest.Run(t, codectest.Config{
		Codec: json.Codec{}, Kinds: kinds, Keys: keys, Holds: holds,
		BadThenGood: []string{
			"{\"a\":1,}\n{\"good\":1}\n", "{\"a\":\x00{\"good\":1}\x00",
			"\x1e{\"a\":\n\x1e{\"good\":1}\n", "{\"a\":\"cut of\n{\"good\":1}",
			"hello\n{\"good\":1}", "nullable\n{\"good\":1}", "[1, 2]{\"good\":1}", "[]{\"good\":1}", "[[],\n{}\n]{\"good\":1}",
			"{\"a\":1,\"a\":2}\n\n\xef\xbb\xbf{\"good\":1}",
		},
	})
}

func TestCodecThatKeepsTheLast(t *testing.T) {
	codectest.Run(t, codectest.Config{Codec: json.Codec{DuplicateKeys: json.KeepLast}, Kinds: kinds, Keys: keys, Holds: holds})
}

// Each error has the place, what was expected and, if there is one, the remedy.
func TestErrors(t *testing.T) {
	long := strings.Repeat("9", 4301)
	for _, test := range []struct{ in, want, hint string }{
		{``, `malformed? want a dictionary, got the end (at byte 0)`, ``},
		{`{`, `truncated want a key or '}', got the end (at byte 1)`, ``},
		{`{"a`, `truncated want the string's closing quote, got the end (at byte 3)`, ``},
		{`{"a"`, `truncated want ':' after the key, got the end (at byte 4)`, ``},
		{`{"a":`, `truncated want a value, got the end (at byte 5, in /a)`, ``},
		{`{"a":1`, `truncated want ',' or '}', got the end (at byte 6, in /a)`, ``},
		{`{"a":[`, `truncated want a value or ']', got the end (at byte 6, in /a/0)`, ``},
		{`{"a":[1`, `truncated want ',' or ']', got the end (at byte 7, in /a/0)`, ``},
		{`{"a":1,`, `truncated want a key, got the end (at byte 7)`, ``},
		{`{a: 1}`, `malformed want a key in double quotes or '}', got 'a' (at byte 1)`, ``},
		{`{'a': 1}`, `malformed want a key in double quotes or '}', got '\'' (at byte 1)`, `json.dumps`},
		{`{"a": 'b'}`, `malformed want a value, got '\'' (at byte 6, in /a)`, `json.dumps`},
		{`{"a": True}`, `malformed want a value, got 'T' (at byte 6, in /a)`, `json.dumps`},
		{`{"a": None}`, `malformed want a value, got 'N' (at byte 6, in /a)`, `json.dumps`},
		{`{"a" 1}`, `malformed want ':' after the key, got '1' (at byte 5)`, ``},
		{`{"a": 1 "b": 2}`, `malformed want ',' or '}', got '"' (at byte 8, in /a)`, ``},
		{`{"a": 1,}`, `malformed want a key in double quotes after ',', got '}' (at byte 8)`, `trailing comma`},
		{`{"a": [1,]}`, `malformed want a value, got ']' (at byte 9, in /a/1)`, `trailing comma`},
		{`{"a": [1 2]}`, `malformed want ',' or ']', got '2' (at byte 9, in /a/1)`, ``},
		{`{"a": {"b": [{}, {"c": tru}]}}`, `malformed want a value, got 't' (at byte 23, in /a/b/1/c)`, ``},
		{`{"a": 01}`, `malformed want no digit after a leading zero, got '1' (at byte 7, in /a)`, ``},
		{`{"a": -}`, `malformed want a digit, got '}' (at byte 7, in /a)`, ``},
		{`{"a": 1.}`, `malformed want a digit after the decimal point, got '}' (at byte 8, in /a)`, ``},
		{`{"a": 1e}`, `malformed want a digit of the exponent, got '}' (at byte 8, in /a)`, ``},
		{`{"a": "\x"}`, `malformed want one of "\/bfnrtu after a backslash, got 'x' (at byte 8, in /a)`, ``},
		{`{"a": "\u12g4"}`, `malformed want four hexadecimal digits after \u, got 'g' (at byte 11, in /a)`, ``},
		{"{\"a\": \"x\ny\"}", `malformed want the string to go on or end (control characters must be escaped), got a line feed (at byte 8, in /a)`, ``},
		{"{\"a\": \"\x1f\"}", `got control character 0x1f (at byte 7, in /a)`, ``},
		{"{\"a\": \"é\xff\"}", `malformed want UTF-8, got byte 0xff (at byte 9, in /a)`, `UTF-8`},
		{"{\"\xed\xa0\x80\": 1}", `malformed want UTF-8, got byte 0xed (at byte 2)`, `UTF-8`},
		{"\xef\xbb\xbf{}", `malformed want a dictionary, which begins with '{', got`, ``},
		{`[1]`, `not_a_dictionary want a dictionary, got a list (at byte 0)`, `wrap it`},
		{` "a"`, `not_a_dictionary want a dictionary, got a string (at byte 1)`, `wrap it`},
		{`-1`, `not_a_dictionary want a dictionary, got a number`, `wrap it`},
		{`true`, `not_a_dictionary want a dictionary, got a bool`, `wrap it`},
		{`null`, `not_a_dictionary want a dictionary, got null`, `wrap it`},
		{`{} {}`, `malformed want nothing after the dictionary, got '{' (at byte 3)`, ``},
		{`{"a":1,"b":2,"\u0061":3}`, `duplicate_key the key "a" comes twice (at byte 13)`, `json.KeepLast`},
		{`{"a":1,"b":2,"a":3}`, `duplicate_key the key "a" comes twice (at byte 13)`, `json.KeepLast`},
		{`{"x":{"abcdefghi":1,"b":2,"abcdefghi":3}}`, `duplicate_key the key "abcdefghi" comes twice (at byte 26, in /x)`, `json.KeepLast`},
		{`{"x":{"":1,"":2}}`, `duplicate_key the key "" comes twice (at byte 11, in /x)`, `json.KeepLast`},
		{`{"a":1.` + long + `e999}`, `limit the record has more than 4300 digits of an integer; Limits.Digits raises the limit (at byte 5, in /a)`, ``},
		{`{"a":1e1000000000000000000}`, `limit the number's exponent is beyond what a decimal of Python holds (at byte 5, in /a)`, ``},
		{`{"a":[1e-99999999999999999999]}`, `limit the number's exponent is beyond what a decimal of Python holds (at byte 6, in /a/0)`, ``},
		{`{"a":` + long + `}`, `limit the record has more than 4300 digits of an integer; Limits.Digits raises the limit (at byte 5, in /a)`, ``},
		{strings.Repeat(`{"a":`, 129), `too_deep the record has more than 128 levels; Limits.Depth raises the limit (at byte 640, in /a/a/`, ``},
	} {
		_, err := json.Codec{}.Decode([]byte(test.in), codec.Limits{})
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%.60q: %v", test.in, err)
			continue
		}
		got := fmt.Sprintf("%s %s", bad.Code, strings.TrimPrefix(bad.Error(), "json: "))
		if !strings.Contains(got, strings.TrimPrefix(test.want, "malformed? ")) || !strings.Contains(bad.Hint, test.hint) || test.hint == "" && bad.Hint != "" {
			t.Errorf("%.60q:\n got %s (hint %q)\nwant %s (hint %q)", test.in, got, bad.Hint, test.want, test.hint)
		}
		if !strings.HasPrefix(test.in, "{") || strings.HasPrefix(test.in, "{}") {
			continue
		}
		for _, s := range []codec.Scanner{json.Codec{}.NewScanner(codec.Limits{}), codectest.Warm(json.Codec{}, codec.Limits{})} {
			_, _, scanned := s.Next([]byte(test.in))
			if errors.Is(scanned, codec.ErrIncomplete) {
				_, _, scanned = s.End([]byte(test.in))
			}
			if fmt.Sprint(scanned) != fmt.Sprint(err) {
				t.Errorf("%.60q: the scanner says %v, Decode %v", test.in, scanned, err)
			}
		}
	}
}

func TestKeepLast(t *testing.T) {
	for in, want := range map[string]string{
		`{"1":"a","x":0,"1":"b"}`:                                     "{'1': 'b', 'x': 0}",
		`{"a":[{"b":1}],"x":{"y":[2]},"a":{"c":[3,{"d":4}]},"z":5}`:   "{'a': {'c': [3, {'d': 4}]}, 'x': {'y': [2]}, 'z': 5}",
		`{"o":{"i":1,"i":{"k":2,"k":3}},"o2":[{"i":1,"i":2}],"e":[]}`: "{'o': {'i': {'k': 3}}, 'o2': [{'i': 2}], 'e': []}",
		`{"a":1,"\u0061":"\u00e9","a":"\ud800"}`:                      `{'a': '\ud800'}`,
		`{"a":1,"a":1,"a":1}`:                                         "{'a': 1}",
	} {
		d, err := json.Codec{DuplicateKeys: json.KeepLast}.Decode([]byte(in), codec.Limits{})
		if err != nil || d.String() != want {
			t.Errorf("%s: %v, %v, want %s", in, d, err, want)
		}
	}
	// The same among many keys, with correct places for later ones.
	text := "{"
	for i := range 200 {
		text += fmt.Sprintf(`"k%d":[%d],`, i, i)
	}
	text += `"k50":{"new":true},"last":{"x":[]}}`
	d, err := json.Codec{DuplicateKeys: json.KeepLast}.Decode([]byte(text), codec.Limits{})
	if err != nil || d.Len() != 201 {
		t.Fatal(d, err)
	}
	for key, want := range map[string]string{"k49": "[49]", "k50": "{'new': True}", "k199": "[199]", "last": "{'x': []}"} {
		if v, _ := d.Get(key); v.String() != want {
			t.Errorf("%s is %v, want %s", key, v, want)
		}
	}
	if _, err := (json.Codec{}).Decode([]byte(text), codec.Limits{}); !isCode(err, fault.DuplicateKey) {
		t.Errorf("by default: %v", err)
	}
}

// Keys chosen by an attacker cost little more than others.
func TestManyKeysThatLookAlike(t *testing.T) {
	cost := func(key string) time.Duration {
		text := []byte{'{'}
		for i := range 60_000 {
			text = append(fmt.Appendf(text, key, i), `:1,`...)
		}
		text = append(text, `"end":1}`...)
		s := json.Codec{}.NewScanner(codec.Limits{RecordBytes: -1})
		least := time.Hour
		for range 3 {
			begin := time.Now()
			if _, _, err := s.Next(text); err != nil {
				t.Fatal(err)
			}
			least = min(least, time.Since(begin))
		}
		return least
	}
	others := cost(`"%06d"`)
	if alike := cost(`"aaaaaaaa%06dz"`); alike > 20*others { // the same size, first eight bytes and last byte
		t.Errorf("60,000 keys that look alike take %v, others %v", alike, others)
	}
}

func BenchmarkScan(b *testing.B) {
	for name, records := range map[string][][]byte{"small": corpus.Small(1, 4096), "events": corpus.Events(1, 4096)} {
		b.Run(name, func(b *testing.B) {
			s := json.Codec{}.NewScanner(codec.Limits{})
			bytes := 0
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				r := records[i%len(records)]
				if _, _, err := s.Next(r); err != nil {
					b.Fatal(err)
				}
				bytes += len(r)
				i++
			}
			b.SetBytes(int64(bytes / i))
		})
	}
}

// BenchmarkScanByteByByte feeds a record of 1 MiB one byte at a time.
func BenchmarkScanByteByByte(b *testing.B) {
	text := []byte(`{"text":"` + strings.Repeat("x", 1<<20-11) + `"}`)
	s := json.Codec{}.NewScanner(codec.Limits{})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for n := 1; n < len(text); n++ {
			if _, _, err := s.Next(text[:n]); !errors.Is(err, codec.ErrIncomplete) {
				b.Fatal(err)
			}
		}
		if _, _, err := s.Next(text); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleCodec_Decode() {
	d, err := json.Codec{}.Decode([]byte(`{"name": "Alice", "big": 123456789012345678901234567890, "x": 1.0}`), codec.Limits{})
	fmt.Println(d, err)
	_, err = json.Codec{}.Decode([]byte(`{"tags": ["a", "b",]}`), codec.Limits{})
	fmt.Println(err)
	// Output:
	// {'name': 'Alice', 'big': 123456789012345678901234567890, 'x': 1.0} <nil>
	// json: want a value, got ']' (at byte 19, in /tags/2)
}

func TestLossy(t *testing.T) {
	when, err := dict.DateTime{Date: dict.Date{Year: 2026, Month: 1, Day: 2}, TimeOfDay: dict.TimeOfDay{Zone: dict.UTC()}}.Value()
	if err != nil {
		t.Fatal(err)
	}
	d := dict.Of("when", when, "t", dict.Tuple(dict.Int(1), dict.Bytes([]byte{255})), "b", dict.ByteArray([]byte("a")))
	for _, key := range []dict.Value{dict.Int(1), dict.Null(), dict.Float(1.5), dict.Tuple(dict.Int(1), dict.String("x"))} {
		if err := d.SetKey(key, dict.Bool(true)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := json.Codec{Lossy: true}.Append(nil, d)
	const want = `{"when":"2026-01-02T00:00:00+00:00","t":[1,"/w=="],"b":"YQ==","1":true,"null":true,"1.5":true,"(1, 'x')":true}`
	if err != nil || string(out) != want {
		t.Errorf("%s, %v\nwant %s", out, err, want)
	}
	for _, test := range []struct {
		c          json.Codec
		d          *dict.Dict
		want, hint string
	}{
		{json.Codec{}, dict.Of("when", when), "/when: json can't hold a datetime", "use cbor.Codec, or Codec.Lossy to write it as an ISO string"},
		{json.Codec{}, dict.Of("in", dict.Of(1, 2)), "/in: json can't hold an int as a key", "use cbor.Codec, or Codec.Lossy to write it as a string"},
		{json.Codec{Strict: true}, dict.Of("a", []any{math.NaN()}), "/a/0: json can't hold a float", "RFC 8259 has neither NaN nor infinities; use cbor.Codec, or Codec.Lossy to write null"},
		{json.Codec{}, dict.Of("a", "\xed\xa0\xbd\xed\xb8\x80"), "/a: json can't hold a string", "use cbor.Codec, or Codec.Lossy to write it as one with U+FFFD for lone surrogates"},
		{json.Codec{}, dict.Of("\xed\xa0\xbd\xed\xb8\x80", 1), "/: json can't hold a string as a key", "use cbor.Codec, or Codec.Lossy to write it as a string"},
		{json.Codec{Strict: true}, dict.Of("a", "\xed\xa0\x80"), "/a: json can't hold a string", "use cbor.Codec, or Codec.Lossy to write it as one with U+FFFD for lone surrogates"},
		{json.Codec{Strict: true}, dict.Of("a", dict.Of("\xed\xa0\x80", 1)), "/a: json can't hold a string as a key", "use cbor.Codec, or Codec.Lossy to write it as a string"},
	} {
		out, err := test.c.Append([]byte("before"), test.d)
		var loss *codec.LossError
		if !errors.As(err, &loss) || err.Error() != test.want+"; "+test.hint || loss.Hint != test.hint || string(out) != "before" {
			t.Errorf("%q, %v, %q\nwant %s, %q", out, err, loss.Hint, test.want, test.hint)
		}
	}
}
