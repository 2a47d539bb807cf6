package cbor_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each error has the place, what was expected and, if there is one, the remedy. The scanner
// reports the same.
func TestErrors(t *testing.T) {
	const long = "a1 6161 " // {"a": …}
	for _, test := range []struct{ in, want, hint string }{
		{"", "truncated want a dictionary, got the end (at byte 0)", ""},
		{"a1", "truncated want a key, got the end (at byte 1)", ""},
		{"a1 6261", "truncated want the rest of a string, got the end (at byte 3)", ""},
		{"a1 6161", "truncated want a value, got the end (at byte 3, in /a)", ""},
		{long + "82 01", "truncated want an item, got the end (at byte 5, in /a/1)", ""},
		{long + "7f 6161", "truncated want the string to go on or end, got the end (at byte 6, in /a)", ""},
		{long + "c2 42 01", "truncated want the rest of tag 2, got the end (at byte 6, in /a)", ""},
		{"a0 01", "malformed want nothing after the dictionary, got an integer (at byte 1)", ""},
		{"82 01 02", "not_a_dictionary want a dictionary, got a list (at byte 0)", "wrap it"},
		{"d9d9f7 01", "not_a_dictionary want a dictionary, got an integer (at byte 3)", "wrap it"},
		{"d90102 81 01", "not_a_dictionary want a dictionary, got tag 258 (at byte 0)", "wrap it"},
		{"d81b 82 65 7475706c65 80", "not_a_dictionary want a dictionary, got tag 27 (at byte 0)", "wrap it"},
		{"1c", "malformed want an item, got byte 0x1c (at byte 0)", ""},
		{long + "1c", "malformed want an item, got byte 0x1c (at byte 3, in /a)", ""},
		{long + "f8 18", "malformed want a simple value in its short form, got byte 0xf8 (at byte 3, in /a)", ""},
		{long + "ff", "malformed want an item, got a break (at byte 3, in /a)", ""},
		{"a1 ff", "malformed want an item, got a break (at byte 1)", ""},
		{"bf 6161 ff", "malformed want an item, got a break (at byte 3, in /a)", ""},
		{long + "7f 4161 ff", "malformed want a chunk of the string, got bytes (at byte 4, in /a)", ""},
		{long + "5f 5f ff ff", "malformed want a chunk of the string, got bytes (at byte 4, in /a)", ""},
		{long + "62 61ff", "malformed want UTF-8, got byte 0xff (at byte 5, in /a)", "tag 273"},
		{"a1 61ff 01", "malformed want UTF-8, got byte 0xff (at byte 2)", "UTF-8"},
		{long + "7f 61c3 61bc ff", "malformed want UTF-8, got byte 0xc3 (at byte 5, in /a)", "UTF-8"},
		{"a2 6161 01 6161 02", `duplicate_key the key "a" comes twice (at byte 4)`, ""},
		{"a2 6161 01 7f6161ff 02", `duplicate_key the key "a" comes twice (at byte 4)`, ""},
		{"a2 01 01 f93c00 02", "duplicate_key the key 1.0 comes twice (at byte 3)", ""},
		{"a2 01 01 c4 82 20 0a 02", "duplicate_key the key Decimal('1.0') comes twice (at byte 3)", ""},
		{"a1 6178 a2 f5 01 01 02", "duplicate_key the key 1 comes twice (at byte 6, in /x)", ""},
		{"a1 6178 d90102 82 01 f5", "duplicate_key the set's item True comes twice (at byte 9, in /x/1)", ""},
		{"a1 a0 01", "malformed want a key that is hashable, got a dict (at byte 1)", ""},
		{"a1 81 d81b 82 69 627974656172726179 40 01", "malformed want a key that is hashable, got a bytearray (at byte 1)", ""},
		{"a1 6178 d90102 81 a0", "malformed want a set's item that is hashable, got a dict (at byte 8, in /x/0)", ""},
		{"a1 81 01 a1 02 82 03 1c", "malformed want an item, got byte 0x1c (at byte 7, in /(1,)/2/1)", ""},
		{long + "c0 01", "malformed want a string, got an integer (at byte 4, in /a)", ""},
		{long + "c0 62 6161", "malformed want a date and time of RFC 3339, as in 2024-01-02T03:04:05.678Z", ""},
		{long + "c1 fb 7ff0000000000000", "malformed want a number, the seconds from 1970-01-01 to a time in the years 1 to 9999 (at byte 3, in /a)", ""},
		{long + "c1 1b 0000010000000000", "malformed want a number, the seconds from 1970-01-01", ""},
		{long + "d9 03ec 6a 323032342d30322d3330", "malformed want a date as in 2024-01-02, in the years 1 to 9999 (at byte 3, in /a)", ""},
		{long + "d864 f93c00", "malformed want an integer, the days from 1970-01-01", ""},
		{long + "d8 25 41 00", "malformed want 16 bytes of a UUID (at byte 3, in /a)", ""},
		{long + "c2 01", "malformed want bytes, got an integer (at byte 4, in /a)", ""},
		{long + "c4 81 01", "malformed want a list of two integers, the exponent and mantissa of a decimal", ""},
		{long + "c4 82 01 f93c00", "malformed want a list of two integers", ""},
		{long + "c4 80", "malformed want a list of two integers", ""},
		{long + "d9a7f8 82 01 6161", "malformed want a list of two numbers, the parts of a complex number", ""},
		{long + "d90102 01", "malformed want a list, got an integer (at byte 6, in /a)", ""},
		{long + "d90111 43 eda080 ", "", ""}, // fine: a lone surrogate
		{long + "d90111 46 eda080edb080", "malformed want WTF-8, in which a pair of surrogates is one character (at byte 3, in /a)", ""},
		{long + "d81b 82 63 737472 46 eda080edb080", "", ""}, // fine: a pair of them, as two code points
		{long + "d81b 82 63 737472 41 ff", "malformed want UTF-8 that may hold surrogates, as Python's \"surrogatepass\" writes them (at byte 3, in /a)", ""},
		{long + "d81b 82 63 737472 61 61", "malformed want an object's name and arguments", ""},
		{long + "d81b 84 64 74696d65 68 30303a30303a3030 00 d81b 82 63 737472 41 ff", "malformed want UTF-8 that may hold surrogates", ""},
		{long + "d903ea a1 02 01", "malformed want a map of 1: seconds", ""},
		{long + "d8 1c 01", "malformed want a value, got tag 28 (shared values, which are not supported) (at byte 3, in /a)", "value_sharing"},
		{long + "d9 0100 01", "malformed want a value, got tag 256 (string references, which are not supported) (at byte 3, in /a)", "string_referencing"},
		{long + "d81b 83 65 7475706c65 80 01", "malformed want a list of the name tuple and one argument, of definite length", ""},
		{long + "d81b 82 65 7475706c65 01", "malformed want a list, got an integer (at byte 12, in /a)", ""},
		{long + "d81b 82 67 446563696d616c 01", "malformed want an object's name and arguments as the table of objects has them", ""},
		{long + "d81b 82 64 74696d65 61 61", "malformed want an object's name and arguments", ""},
		{long + "c2 59 0800" + strings.Repeat("ff", 2048), "limit the record has more than 4300 digits of an integer; Limits.Digits raises the limit (at byte 3, in /a)", ""},
		{strings.Repeat("a1 6161", 129), "too_deep the record has more than 128 levels; Limits.Depth raises the limit (at byte 384, in /a/a/", ""},
		{long + "9a 000f4241" + strings.Repeat("00", 1_000_001), "limit the record has more than 1000000 keys and values; Limits.Items raises the limit (at byte 3, in /a)", ""},
		{long + "5b 7fffffffffffffff", "too_large the record has more than 1048576 bytes; Limits.RecordBytes raises the limit (at byte 1048576, in /a)", ""},
		{long + "9a 00100000", "too_large the record has more than 1048576 bytes", ""},
		{"ba 00080000", "too_large the record has more than 1048576 bytes", ""},
		{long + "9b ffffffffffffffff", "too_large the record has more than 1048576 bytes", ""},
		{"bb ffffffffffffffff", "too_large the record has more than 1048576 bytes", ""},
	} {
		b := unhex(t, test.in)
		_, err := cbor.Codec{}.Decode(b, codec.Limits{})
		s := codectest.Warm(cbor.Codec{}, codec.Limits{})
		_, end, scanned := s.Next(b)
		if errors.Is(scanned, codec.ErrIncomplete) {
			_, _, scanned = s.End(b)
		}
		if test.want == "" {
			if err != nil || scanned != nil {
				t.Errorf("%.60s: %v, %v", test.in, err, scanned)
			}
			continue
		}
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%.60s: %v", test.in, err)
			continue
		}
		got := fmt.Sprintf("%s %s", bad.Code, strings.TrimPrefix(bad.Error(), "cbor: "))
		if !strings.Contains(got, test.want) || !strings.Contains(bad.Hint, test.hint) || test.hint == "" && bad.Hint != "" {
			t.Errorf("%.60s:\n got %s (hint %q)\nwant %s (hint %q)", test.in, got, bad.Hint, test.want, test.hint)
		}
		if len(b) > 0 && end < len(b) && scanned == nil {
			continue // bytes after the dictionary belong to the next one
		}
		if len(b) > 0 && fmt.Sprint(scanned) != err.Error() {
			t.Errorf("%.60s: the scanner says %v, Decode %v", test.in, scanned, err)
		}
	}
}

// Types with more than one form in CBOR are read in each.
func TestForms(t *testing.T) {
	for in, want := range map[string]string{
		"d9d9f7 a0":                "{}",
		"d9d9f7 d9d9f7 a0":         "{}",
		"bf ff":                    "{}",
		"bb 0000000000000000":      "{}",
		"a1 01 fb3ff0000000000000": "{1: 1.0}",
		"a1 01 c2 40":              "{1: 0}",
		"a1 01 c2 42 0005":         "{1: 5}",
		"a1 01 c3 5f 41ff 41ff ff": "{1: -65536}",
		"a1 01 c0 7f 6b 323032342d30312d303254 6a 30333a30343a30352e35 66 2b30313a3030 ff": "{1: datetime.datetime(2024, 1, 2, 3, 4, 5, 500000, tzinfo=datetime.timezone(datetime.timedelta(seconds=3600)))}",
		"a1 01 c0 78 1d 323032342d30312d30325430333a30343a30352e393939393939395a30":        "",
		"a1 01 c1 20":                                        "{1: datetime.datetime(1969, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)}",
		"a1 01 c1 fb bff8000000000000":                       "{1: datetime.datetime(1969, 12, 31, 23, 59, 58, 500000, tzinfo=datetime.timezone.utc)}",
		"a1 01 d864 39 1f3f":                                 "{1: datetime.date(1948, 2, 6)}",
		"a1 01 c4 82 21 196ab3":                              "{1: Decimal('273.15')}",
		"a1 01 c4 9f 21 196ab3 ff":                           "{1: Decimal('273.15')}",
		"a1 01 c4 82 01 c2 49 010000000000000000":            "{1: Decimal('1.8446744073709551616E+20')}",
		"a1 01 c5 82 20 03":                                  "{1: CBORTag(5, [-1, 3])}",
		"a1 01 d9a7f8 82 01 f98000":                          "{1: (1-0j)}",
		"a1 01 d903ea a1 01 f93e00":                          "{1: datetime.timedelta(seconds=1, microseconds=500000)}",
		"a1 01 d903ea bf 01 20 28 1903e8 ff":                 "{1: datetime.timedelta(days=-1, seconds=86399, microseconds=1)}",
		"a1 01 d9d9f7 02":                                    "{1: CBORTag(55799, 2)}",
		"a1 01 d81b 83 69 416d6f756e74447565 1864 63 455552": "{1: CBORTag(27, ['AmountDue', 100, 'EUR'])}",
		"a1 01 d81b 80":                                      "{1: CBORTag(27, [])}",
		"a1 01 d81b 9800":                                    "{1: CBORTag(27, [])}",
		"a1 01 d81b 9fff":                                    "{1: CBORTag(27, [])}",
		"a1 01 d81b 01":                                      "{1: CBORTag(27, 1)}",
		"a1 82 01 81 02 d90102 81 81 03":                     "{(1, (2,)): {(3,)}}",
		"a1 d90102 81 d90102 80 01":                          "{frozenset({frozenset()}): 1}",
		"a2 f97e00 01 f97e00 02":                             "{nan: 1, nan: 2}",
		"a2 6131 01 01 02":                                   "{'1': 1, 1: 2}",
		"a2 4161 01 6161 02":                                 "{b'a': 1, 'a': 2}",
		"a1 a0 01":                                           "",
	} {
		b := unhex(t, in)
		d, err := cbor.Codec{}.Decode(b, codec.Limits{})
		if want == "" {
			if err == nil {
				t.Errorf("%s: %v", in, d)
			}
			continue
		}
		if err != nil || d.String() != want {
			t.Errorf("%s: %v, %v, want %s", in, d, err, want)
			continue
		}
		if _, end, err := (cbor.Codec{}).NewScanner(codec.Limits{}).Next(b); err != nil || end != len(b) {
			t.Errorf("%s: the scanner says %d, %v", in, end, err)
		}
	}
}

// Whatever is at the top, the first bytes of a connection identify CBOR.
func TestSniffed(t *testing.T) {
	for _, d := range []*dict.Dict{dict.Of(), dict.Of("a", 1), dict.Of("a", 1).Ordered(), manyInts(300)} {
		b, err := cbor.Codec{}.Append(nil, d)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := dialect.Sniff(b); p != dialect.CBOR || err != nil {
			t.Errorf("%x is sniffed as %v, %v", b[:min(len(b), 8)], p, err)
		}
		if back, err := (cbor.Codec{}).Decode(b, codec.Limits{}); err != nil || !back.Equal(d) {
			t.Errorf("%v came back as %v, %v", d, back, err)
		}
	}
}

// Every string is checked, wherever it is and however long.
func TestUTF8(t *testing.T) {
	for size := 1; size < 300; size += 1 + size/30 {
		for at := 0; at < size; at += 1 + size/30 {
			for _, odd := range []string{"\xff", "\xc3", "\xed\xa0\x80", "é", "漢", "😀"} {
				text := strings.Repeat("x", at) + odd + strings.Repeat("y", size-at-1)
				want := utf8.ValidString(text)
				for _, d := range []*dict.Dict{
					dict.Of("x", strings.Repeat("z", len(text))),
					dict.Of(strings.Repeat("z", len(text)), 1),
					dict.Of("a", 1, strings.Repeat("z", len(text)), []any{"b", "c"}, "behind", "this"),
					dict.Of("a", 1, "x", strings.Repeat("z", len(text)), "behind", "this"),
					dict.Of("a", []any{strings.Repeat("z", len(text)), 1}),
				} {
					b, err := cbor.Codec{}.Append(nil, d)
					if err != nil {
						t.Fatal(err)
					}
					copy(b[bytes.LastIndex(b, []byte(strings.Repeat("z", len(text)))):], text)
					_, err = cbor.Codec{}.Decode(b, codec.Limits{})
					_, end, scanned := cbor.Codec{}.NewScanner(codec.Limits{}).Next(b)
					if (err == nil) != want || (scanned == nil && end == len(b)) != want {
						t.Fatalf("%q: %v, %v", b, err, scanned)
					}
				}
			}
		}
	}
}

// A duplicate key is found among few and among many, wherever it is.
func TestDuplicates(t *testing.T) {
	s := cbor.Codec{}.NewScanner(codec.Limits{})
	for _, n := range []int{2, 3, 20, 33, 70, 300} {
		for twice := 0; twice < n; twice += 1 + n/20 {
			for _, size := range []int{2, 7, 8, 9, 20, 23, 24, 40} {
				key := func(i int) string { return fmt.Sprintf("k%0*d", size-1, i%100)[:size] + strconv.Itoa(i/100) }
				d := new(dict.Dict)
				for i := range n {
					d.Set(key(i), dict.Int(int64(i)))
				}
				b, err := cbor.Codec{}.Append(nil, d)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := s.Next(b); err != nil {
					t.Fatalf("%v: %v", d, err)
				}
				again := key(twice)
				// The last key changes.
				last := key(n - 1)
				if len(last) != len(again) || last == again {
					continue
				}
				at := bytes.LastIndex(b, []byte(last))
				copy(b[at:], again)
				if _, _, err := (cbor.Codec{}).NewScanner(codec.Limits{}).Next(b); !isCode(err, fault.DuplicateKey) {
					t.Fatalf("%x: %v", b, err)
				}
				if _, err := (cbor.Codec{}).Decode(b, codec.Limits{}); !isCode(err, fault.DuplicateKey) {
					t.Fatalf("%x: %v", b, err)
				}
			}
		}
	}
}

func isCode(err error, c fault.Code) bool {
	var bad *codec.SyntaxError
	return errors.As(err, &bad) && bad.Code == c
}

func manyInts(n int) *dict.Dict {
	d := new(dict.Dict)
	for i := range n {
		if err := d.SetKey(dict.Int(int64(i)), dict.Null()); err != nil {
			panic(err)
		}
	}
	return d
}

// A tagged value that would be read as another type is not written.
func TestLoss(t *testing.T) {
	beyond, _ := new(big.Int).SetString("18446744073709551616", 10)
	values := []dict.Value{
		dict.Tagged(dict.CBORTag, dict.Int(37), dict.Bytes(make([]byte, 16))),
		dict.Tagged(dict.CBORTag, dict.Int(28), dict.Int(1)),
		dict.Tagged(dict.CBORTag, dict.Int(27), dict.List(dict.String("tuple"), dict.List())),
		dict.Tagged(dict.CBORTag, dict.Int(-1), dict.Null()),
		dict.Tagged(dict.CBORTag, dict.BigInt(beyond), dict.Null()),
		dict.Tagged(dict.CBORTag, dict.String("x"), dict.Null()),
		dict.Tagged(dict.CBORSimple, dict.Int(20), dict.Null()),
		dict.Tagged(dict.CBORSimple, dict.Int(256), dict.Null()),
		dict.Tagged(dict.CBORSimple, dict.Int(99), dict.Int(1)),
		dict.Tagged(dict.MessagePackExt, dict.Int(128), dict.Bytes(nil)),
		dict.Tagged(dict.MessagePackExt, dict.Int(1), dict.String("")),
	}
	for _, o := range cbor.Objects() {
		values = append(values, dict.Tagged(dict.CBORTag, dict.Int(27), dict.List(dict.String(o.Name))))
	}
	for _, v := range values {
		b, err := cbor.Codec{}.Append([]byte("x"), dict.Of("a", []any{v}))
		var loss *codec.LossError
		if !errors.As(err, &loss) || loss.Path != "/a/0" || loss.Kind != dict.KindTagged || loss.Hint == "" || string(b) != "x" {
			t.Errorf("%v: %q, %v", v, b, err)
		}
	}
}

// Memory is bounded by what has arrived, not by the claimed length.
func TestMemory(t *testing.T) {
	for _, in := range []string{
		"a1 6161 9a 000fff00", "ba 0007ff00", "a1 6161 5a 000fff00", "a1 6161 d90102 9a 000fff00", "a1 6161 c2 5a 000fff00",
		"a1 6161 d81b 82 65 7475706c65 9a 000f0000", "a1 6161 7f 7a 000fff00",
	} {
		b := unhex(t, in)
		lim := codec.Limits{Items: -1}
		s := cbor.Codec{}.NewScanner(lim)
		if _, _, err := s.Next(b); !errors.Is(err, codec.ErrIncomplete) || s.Scratch() > 8<<10 {
			t.Errorf("%s: %v, %d bytes of scratch", in, err, s.Scratch())
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			_, _ = cbor.Codec{}.Decode(b, lim)
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 32<<10 {
			t.Errorf("%s: Decode allocates %d bytes", in, each)
		}
	}
}

func ExampleCodec_Decode() {
	b, _ := cbor.Codec{}.Append(nil, dict.Of("name", "Alice", "point", dict.Tuple(dict.Int(1), dict.Float(2.5))))
	fmt.Printf("%x\n", b)
	d, err := cbor.Codec{}.Decode(b, codec.Limits{})
	fmt.Println(d, err)
	// Output:
	// a2646e616d6565416c69636565706f696e74d81b82657475706c658201f94100
	// {'name': 'Alice', 'point': (1, 2.5)} <nil>
}
