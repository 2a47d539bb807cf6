package msgpack_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dict"
)

var (
	kinds = []dict.Kind{
		dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindString, dict.KindBytes, dict.KindDateTime,
		dict.KindList, dict.KindDict, dict.KindTagged,
	}
	keys = []dict.Kind{
		dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindString, dict.KindBytes, dict.KindDateTime,
		dict.KindTuple, dict.KindTagged,
	}
)

// holds reports whether MessagePack can represent a value of one of the kinds.
func holds(v dict.Value) bool {
	switch v.Kind() {
	case dict.KindInt:
		i, _ := v.BigInt()
		return i.IsInt64() || i.IsUint64()
	case dict.KindString:
		return !v.HasSurrogates()
	case dict.KindDateTime:
		t, _ := v.DateTime()
		return t.Zone == dict.UTC() && !t.Fold
	case dict.KindTagged:
		space, code, value, _ := v.Tagged()
		if space != dict.MessagePackExt {
			return false
		}
		n, _ := code.Int()
		b, _ := value.Bytes()
		return n != -1 || !isDateTime(b)
	default:
		return true
	}
}

// isDateTime reports whether a timestamp of the specification is a datetime: in the years 1
// to 9999.
func isDateTime(b []byte) bool {
	var seconds int64
	var nanoseconds uint64
	switch len(b) {
	case 4:
		return true
	case 8:
		nanoseconds = binary.BigEndian.Uint64(b) >> 34 // 34 bits of seconds end in 2514
	case 12:
		nanoseconds = uint64(binary.BigEndian.Uint32(b))
		seconds = int64(binary.BigEndian.Uint64(b[4:]))
	default:
		return false
	}
	const year1, year10000 = -62_135_596_800, 253_402_300_800
	return nanoseconds < 1e9 && seconds >= year1 && seconds < year10000
}

func TestCodec(t *testing.T) {
	codectest.Run(t, codectest.Config{Codec: msgpack.Codec{}, Kinds: kinds, Keys: keys, Holds: holds})
}

func value(t *testing.T, b []byte) (dict.Value, error) {
	t.Helper()
	d, err := msgpack.Codec{}.Decode(append([]byte{0x81, 0xA1, 'v'}, b...), codec.Limits{})
	if err != nil {
		return dict.Value{}, err
	}
	v, _ := d.Get("v")
	return v, nil
}

// The formats of the specification, one by one: what each is read as, and whether it is the
// shortest, which is written again.
func TestFormats(t *testing.T) {
	for _, test := range []struct {
		hex, want string
		shortest  bool
	}{
		{"c0", "None", true},
		{"c2", "False", true},
		{"c3", "True", true},
		{"00", "0", true},
		{"7f", "127", true},
		{"ff", "-1", true},
		{"e0", "-32", true},
		{"cc00", "0", false},
		{"cc80", "128", true},
		{"ccff", "255", true},
		{"cd00ff", "255", false},
		{"cd0100", "256", true},
		{"cdffff", "65535", true},
		{"ce00010000", "65536", true},
		{"ceffffffff", "4294967295", true},
		{"cf0000000100000000", "4294967296", true},
		{"cf7fffffffffffffff", "9223372036854775807", true},
		{"cf8000000000000000", "9223372036854775808", true},
		{"cfffffffffffffffff", "18446744073709551615", true},
		{"d0ff", "-1", false},
		{"d0df", "-33", true},
		{"d080", "-128", true},
		{"d07f", "127", false},
		{"d1ff7f", "-129", true},
		{"d18000", "-32768", true},
		{"d2ffff7fff", "-32769", true},
		{"d280000000", "-2147483648", true},
		{"d3ffffffff7fffffff", "-2147483649", true},
		{"d38000000000000000", "-9223372036854775808", true},
		{"d30000000000000001", "1", false},
		{"ca3fc00000", "1.5", false},
		{"ca7f800000", "inf", false},
		{"cb3ff8000000000000", "1.5", true},
		{"cb7ff8000000000001", "nan", true},
		{"cb8000000000000000", "-0.0", true},
		{"a0", "''", true},
		{"a161", "'a'", true},
		{"bf" + strings.Repeat("61", 31), "'" + strings.Repeat("a", 31) + "'", true},
		{"d90161", "'a'", false},
		{"d920" + strings.Repeat("61", 32), "'" + strings.Repeat("a", 32) + "'", true},
		{"da0001c3", "", false},
		{"da0002c3a9", "'é'", false},
		{"da0100" + strings.Repeat("61", 256), "'" + strings.Repeat("a", 256) + "'", true},
		{"db0000000161", "'a'", false},
		{"db00010000" + strings.Repeat("61", 65536), "'" + strings.Repeat("a", 65536) + "'", true},
		{"c400", "b''", true},
		{"c403010203", `b'\x01\x02\x03'`, true},
		{"c50001ff", `b'\xff'`, false},
		{"c60000000100", `b'\x00'`, false},
		{"90", "[]", true},
		{"92c001", "[None, 1]", true},
		{"dc0001c0", "[None]", false},
		{"dc0010" + strings.Repeat("01", 16), "[" + strings.Repeat("1, ", 15) + "1]", true},
		{"dd00000001c0", "[None]", false},
		{"80", "{}", true},
		{"82a161019200c401ff", "", false},
		{"82a161019200c4000102", "", false},
		{"829200c400a1620102", "{(0, b''): 'b', 1: 2}", true},
		{"de000101c0", "{1: None}", false},
		{"df0000000101c0", "{1: None}", false},
		{"81d6ff0000000001", "{datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc): 1}", true},
		{"d40561", "ExtType(code=5, data=b'a')", true},
		{"d5056162", "ExtType(code=5, data=b'ab')", true},
		{"d68061626364", "ExtType(code=-128, data=b'abcd')", true},
		{"d77f6162636465666768", "ExtType(code=127, data=b'abcdefgh')", true},
		{"d805" + strings.Repeat("61", 16), "ExtType(code=5, data=b'" + strings.Repeat("a", 16) + "')", true},
		{"c70005", "ExtType(code=5, data=b'')", true},
		{"c7030561626" + "3", "ExtType(code=5, data=b'abc')", true},
		{"c8000105" + "61", "ExtType(code=5, data=b'a')", false},
		{"c90000000105" + "61", "ExtType(code=5, data=b'a')", false},
		{"d6ff5e0be100", "datetime.datetime(2020, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)", true},
		{"d6ffffffffff", "datetime.datetime(2106, 2, 7, 6, 28, 15, tzinfo=datetime.timezone.utc)", true},
		{"d7ff00000fa05e0be100", "datetime.datetime(2020, 1, 1, 0, 0, 0, 1, tzinfo=datetime.timezone.utc)", true},
		{"d7ff000000005e0be100", "datetime.datetime(2020, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)", false},
		{"d7ff00000003ffffffff", "datetime.datetime(2514, 5, 30, 1, 53, 3, tzinfo=datetime.timezone.utc)", true},
		{"c70cff00000000ffffffffffffffff", "datetime.datetime(1969, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)", true},
		{"c70cff3b9ac618fffffff1886e0900", "datetime.datetime(1, 1, 1, 0, 0, 0, 999999, tzinfo=datetime.timezone.utc)", true},
		{"d7ff000000045e0be100", "datetime.datetime(2020, 1, 1, 0, 0, nanosecond=1, tzinfo=datetime.timezone.utc)", true},
		{"d7ffee6b27fc5e0be100", "datetime.datetime(2020, 1, 1, 0, 0, 0, 999999, nanosecond=999, tzinfo=datetime.timezone.utc)", true},
		{"c70cff3b9ac9fffffffff1886e0900", "datetime.datetime(1, 1, 1, 0, 0, 0, 999999, nanosecond=999, tzinfo=datetime.timezone.utc)", true},
		// Not datetimes: too many nanoseconds, too late, too early, of another length.
		{"d7ffee6b28005e0be100", `ExtType(code=-1, data=b'\xeek(\x00^\x0b\xe1\x00')`, true},
		{"c70cff0000000000000" + "03afff44180", `ExtType(code=-1, data=b'\x00\x00\x00\x00\x00\x00\x00:\xff\xf4A\x80')`, true},
		{"c70cff00000000fffffff1886e08ff", `ExtType(code=-1, data=b'\x00\x00\x00\x00\xff\xff\xff\xf1\x88n\x08\xff')`, true},
		{"d5ff0102", `ExtType(code=-1, data=b'\x01\x02')`, true},
	} {
		b, err := hex.DecodeString(test.hex)
		if err != nil {
			t.Fatal(test.hex, err)
		}
		v, err := value(t, b)
		if test.want == "" {
			if err == nil {
				t.Errorf("%.40s: %v, want an error", test.hex, v)
			}
			continue
		}
		if err != nil || v.String() != test.want {
			t.Errorf("%.40s: %.80s, %v, want %.80s", test.hex, v, err, test.want)
			continue
		}
		d := dict.Of("v", v)
		out, err := msgpack.Codec{}.Append(nil, d)
		if err != nil {
			t.Errorf("%.40s: %v", test.hex, err)
			continue
		}
		if again := hex.EncodeToString(out[3:]); again == test.hex != test.shortest || len(again) > len(test.hex) && !strings.HasPrefix(test.hex, "ca") {
			t.Errorf("%.40s is written as %.40s", test.hex, again)
		}
	}
}

// Each error has the place, what was expected and, if there is one, the remedy.
func TestErrors(t *testing.T) {
	for _, test := range []struct{ hex, want, hint string }{
		{"", "truncated want a dictionary, got the end (at byte 0)", ""},
		{"81", "truncated want a key, got the end (at byte 1)", ""},
		{"81a1", "truncated want the rest of a string, got the end (at byte 2)", ""},
		{"81a161", "truncated want a value, got the end (at byte 3, in /a)", ""},
		{"81a161cd01", "truncated want the rest of an integer, got the end (at byte 5, in /a)", ""},
		{"81a1619201", "truncated want an item, got the end (at byte 5, in /a/1)", ""},
		{"81a161c70501", "truncated want the rest of an extension, got the end (at byte 6, in /a)", ""},
		{"81a161c1", "malformed want a value, got byte 0xc1 (at byte 3, in /a)", ""},
		{"81c100", "malformed want a value, got byte 0xc1 (at byte 1)", ""},
		{"c1", "malformed want a dictionary, got byte 0xc1 (at byte 0)", ""},
		{"8080", "malformed want nothing after the dictionary, got a map (at byte 1)", ""},
		{"93010203", "not_a_dictionary want a dictionary, got an array (at byte 0)", "wrap it"},
		{"a161", "not_a_dictionary want a dictionary, got a string (at byte 0)", "wrap it"},
		{"05", "not_a_dictionary want a dictionary, got an integer (at byte 0)", "wrap it"},
		{"d6ff00000000", "not_a_dictionary want a dictionary, got an extension (at byte 0)", "wrap it"},
		{"81a16181a162a2c3ff", "malformed want UTF-8, got byte 0xc3 (at byte 7, in /a/b)", "use_bin_type"},
		{"81a1ff00", "malformed want UTF-8, got byte 0xff (at byte 2)", "use_bin_type"},
		{"81a16182a16201a16202", "duplicate_key the key \"b\" comes twice (at byte 7, in /a)", ""},
		{"8201c0c3c0", "duplicate_key the key True comes twice (at byte 3)", ""},
		{"8292a16101c092a16101c0", "duplicate_key the key ('a', 1) comes twice (at byte 6)", ""},
		{"8180c0", "malformed want a key that is hashable, got a dict (at byte 1)", ""},
		{"81918081c0", "malformed want a key that is hashable, got a dict (at byte 1)", ""},
		{"8101df7fffffff", "too_large the record has more than 1048576 bytes; Limits.RecordBytes raises the limit (at byte 1048576", ""},
		{"8101dbffffffff", "too_large the record has more than 1048576 bytes", ""},
		{"8101" + strings.Repeat("91", 128), "too_deep the record has more than 128 levels; Limits.Depth raises the limit (at byte 129, in /1/0/0", ""},
		{"8101dd000f4240", "limit the record has more than 1000000 keys and values; Limits.Items raises the limit (at byte 2, in /1)", ""},
	} {
		b, err := hex.DecodeString(test.hex)
		if err != nil {
			t.Fatal(test.hex, err)
		}
		_, err = msgpack.Codec{}.Decode(b, codec.Limits{})
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%.60s: %v", test.hex, err)
			continue
		}
		got := fmt.Sprintf("%s %s", bad.Code, strings.TrimPrefix(bad.Error(), "msgpack: "))
		if !strings.Contains(got, test.want) || !strings.Contains(bad.Hint, test.hint) || test.hint == "" && bad.Hint != "" {
			t.Errorf("%.60s:\n got %s (hint %q)\nwant %s (hint %q)", test.hex, got, bad.Hint, test.want, test.hint)
		}
	}
}

func rich(t *testing.T) *dict.Dict {
	t.Helper()
	decimal, err := dict.Decimal("1.50")
	if err != nil {
		t.Fatal(err)
	}
	set, err := dict.SetOf(dict.Int(1), dict.Tuple(dict.Int(2)))
	if err != nil {
		t.Fatal(err)
	}
	when, err := dict.DateTime{Date: dict.Date{Year: 2026, Month: 1, Day: 2}, TimeOfDay: dict.TimeOfDay{Hour: 3, Zone: dict.KeyZone("Europe/Paris")}}.Value()
	if err != nil {
		t.Fatal(err)
	}
	d := dict.Of("price", decimal, "set", set, "when", when, "big", new(big.Int).Lsh(big.NewInt(1), 64), "raw", []byte{1, 255},
		"lone", dict.String("a\xed\xa0\x80b"), "z", dict.Complex(1+2i), "t", dict.Tuple(dict.Null()))
	for _, key := range []dict.Value{dict.Tuple(dict.Int(1), decimal), dict.UUID([16]byte{1}), dict.Null()} {
		if err := d.SetKey(key, dict.Bool(true)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestLossy(t *testing.T) {
	d := rich(t)
	b, err := msgpack.Codec{Lossy: true}.Append(nil, d)
	if err != nil {
		t.Fatal(err)
	}
	back, err := msgpack.Codec{}.Decode(b, codec.Limits{})
	const want = `{'price': '1.50', 'set': [1, [2]], 'when': '2026-01-02T03:00:00[Europe/Paris]', 'big': '18446744073709551616', ` +
		`'raw': b'\x01\xff', 'lone': 'a�b', 'z': '(1+2j)', 't': [None], (1, '1.50'): True, '01000000-0000-0000-0000-000000000000': True, None: True}`
	if err != nil || back.String() != want {
		t.Errorf("%v, %v\nwant %s", back, err, want)
	}
	twice := new(dict.Dict)
	for _, key := range []dict.Value{dict.UUID([16]byte{}), dict.String("00000000-0000-0000-0000-000000000000")} {
		if err := twice.SetKey(key, dict.Null()); err != nil {
			t.Fatal(err)
		}
	}
	var loss *codec.LossError
	if _, err := (msgpack.Codec{Lossy: true}).Append(nil, twice); !errors.As(err, &loss) || !loss.Key {
		t.Errorf("two keys that become one: %v", err)
	}
	_, err = msgpack.Codec{}.Append(nil, dict.Of("in", dict.Of("when", d.Value())))
	if !errors.As(err, &loss) || loss.Text() != "/in/when/price: msgpack can't hold a decimal" || loss.Hint != "use cbor.Codec, or Codec.Lossy to write it as a string" {
		t.Errorf("%v, hint %q", err, loss.Hint)
	}
}

func ExampleCodec_Append() {
	b, err := msgpack.Codec{}.Append(nil, dict.Of("compact", true, "schema", 0))
	fmt.Printf("%x %v\n", b, err)
	_, err = msgpack.Codec{}.Append(nil, dict.Of("point", dict.Tuple(dict.Int(1), dict.Int(2))))
	fmt.Println(err)
	// Output:
	// 82a7636f6d70616374c3a6736368656d6100 <nil>
	// /point: msgpack can't hold a tuple; use cbor.Codec, or Codec.Lossy to write it as a list
}
