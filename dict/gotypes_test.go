package dict_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"net"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/dict"
)

// UUID is like those of well-known packages.
type UUID [16]byte

func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
func (u *UUID) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(strings.ReplaceAll(string(text), "-", ""), "%x", (*hexBytes)(u))
	return err
}

type hexBytes [16]byte

func (h *hexBytes) Scan(s fmt.ScanState, _ rune) error {
	text, err := s.Token(true, nil)
	for i := range h {
		if _, err := fmt.Sscanf(string(text[2*i:2*i+2]), "%02x", &h[i]); err != nil {
			return err
		}
	}
	return err
}

// Decimal is like those of well-known packages: its fields are unexported.
type Decimal struct{ text string }

func (d Decimal) MarshalText() ([]byte, error)     { return []byte(d.text), nil }
func (d Decimal) MarshalJSON() ([]byte, error)     { return []byte(`"` + d.text + `"`), nil }
func (d *Decimal) UnmarshalText(text []byte) error { d.text = string(text); return nil }

// Celsius implements json.Marshaler.
type Celsius struct{ degrees float64 }

func (c Celsius) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"unit": "\u00b0C", "degrees": %v}`, c.degrees), nil
}

func (c *Celsius) UnmarshalJSON(text []byte) error {
	var v struct{ Degrees float64 }
	err := json.Unmarshal(text, &v)
	c.degrees = v.Degrees
	return err
}

// Level has methods on the pointer only.
type Level struct{ n int }

func (l *Level) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "L%d", l.n), nil }
func (l *Level) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "L%d", &l.n)
	return err
}

type Shown struct{ secret int }

func (s Shown) String() string { return fmt.Sprint("shown ", s.secret) }

type CodeError struct{ n int }

func (c *CodeError) Error() string { return fmt.Sprint("code ", c.n) }

type Inner struct {
	Name string `dict:"inner"`
	Both int
}

type Other struct{ Both int }

type Outer struct {
	Inner
	Name string `dict:"outer"`
}

type Stamped struct {
	time.Time
	X int
}

type Locked struct {
	sync.Mutex
	N int
}

type tree struct {
	Left *tree
	*Other
}

type hiddenEmbedded struct {
	*pointed
	Y int
}
type pointed struct{ X int }

// Whatever a Go value is, all its parts are converted, or an error names the place.
func TestGoValues(t *testing.T) {
	at := time.Date(2024, 2, 29, 1, 2, 3, 123_456_789, time.FixedZone("", -5400))
	uuid := UUID{0: 0xDE, 15: 1}
	var nilCode *CodeError
	for _, test := range []struct {
		v    any
		want string // the value's repr, or with "!" the error
	}{
		{errors.New("boom"), "'boom'"},
		{fmt.Errorf("wrapped: %w", fs.ErrNotExist), "'wrapped: file does not exist'"},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}, "'open /x: no such file or directory'"},
		{&CodeError{5}, "'code 5'"},
		{CodeError{5}, "'code 5'"},
		{nilCode, "None"},
		{Shown{7}, "'shown 7'"},
		{&Shown{7}, "'shown 7'"},
		{time.March, "3"},
		{net.IPv4(10, 0, 0, 1), "'10.0.0.1'"},
		{Celsius{21.5}, "{'unit': '°C', 'degrees': 21.5}"},
		{json.RawMessage(`{"b": [1, 2.50, 1e400, "\ud800"], "a": 12345678901234567890}`), `{'b': [1, 2.5, Decimal('1E+400'), '\ud800'], 'a': 12345678901234567890}`},
		{json.RawMessage(nil), "None"},
		{json.RawMessage(`{"a":`), "!unexpected end of JSON input"},
		{json.Number("10"), "10"},
		{json.Number("1e3"), "1000.0"},
		{json.Number("-0.0"), "-0.0"},
		{json.Number("123456789012345678901"), "123456789012345678901"},
		{json.Number(""), "0"},
		{json.Number("0x10"), "!\"0x10\" is no JSON number"},
		{json.Number("Infinity"), "!\"Infinity\" is no JSON number"},
		{json.Number("1_0"), "!\"1_0\" is no JSON number"},
		{json.Number("1.5.5"), "!is no JSON number"},
		{big.NewInt(5), "5"},
		{*big.NewInt(5), "5"},
		{big.NewFloat(0.1), "Decimal('0.1000000000000000055511151231257827021181583404541015625')"},
		{big.NewFloat(1 << 40), "Decimal('1099511627776')"},
		{big.NewFloat(-0.75), "Decimal('-0.75')"},
		{*big.NewFloat(math.Inf(-1)), "Decimal('-Infinity')"},
		{new(big.Float).SetMantExp(big.NewFloat(1), 1<<30), "!has too many digits"},
		{big.NewRat(-2, 6), "'-1/3'"},
		{*big.NewRat(4, 2), "'2'"},
		{uuid, "UUID('de000000-0000-0000-0000-000000000001')"},
		{&uuid, "UUID('de000000-0000-0000-0000-000000000001')"},
		{[16]byte{1}, `b'\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'`},
		{Decimal{"1.50"}, "Decimal('1.50')"},
		{[]Decimal{{"-7"}}, "[Decimal('-7')]"},
		{Level{3}, "'L3'"},
		{map[string]Level{"a": {3}}, "{'a': 'L3'}"},
		{at, "datetime.datetime(2024, 2, 29, 1, 2, 3, 123456, nanosecond=789, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=81000)))"},
		{time.Duration(-1), "datetime.timedelta(days=-1, seconds=86399, microseconds=999999, nanoseconds=999)"},
		{Outer{Inner{"i", 1}, "o"}, "{'inner': 'i', 'Both': 1, 'outer': 'o'}"},
		{struct {
			Inner
			Other
		}{}, "!the fields Inner.Both and Other.Both of struct"},
		{struct {
			A int `dict:"x"`
			B int `json:"x"`
		}{}, `!the fields A and B of struct`},
		{struct {
			A int `dict:"x,omitemtpy"`
		}{}, `!the tag of the field A of struct { A int "dict:\"x,omitemtpy\"" } has the unknown option "omitemtpy"; dict knows omitempty and omitzero`},
		{[]any{struct {
			A int `json:"x,inline"`
		}{}}, `!/0: the tag of the field A`},
		{struct {
			A int       `json:",string"`
			B time.Time `json:"b,omitzero"`
			C Inner     `dict:",omitzero"`
			D *int      `dict:"-,"`
			E string    `dict:"-"`
		}{A: 5}, "{'A': 5, '-': None}"},
		{Stamped{at, 1}, "{'Time': " + dict.Of("t", at).String()[6:][:strings.Index(dict.Of("t", at).String(), "}")-6] + ", 'X': 1}"},
		{&Locked{N: 1}, "{'N': 1}"},
		{struct{}{}, "{}"},
		{struct{ _ int }{}, "{}"},
		{sync.Mutex{}, "!a sync.Mutex has fields, but none that is exported"},
		{map[string]any{"a": []any{sync.Mutex{}}}, "!/a/0: a sync.Mutex has fields"},
		{struct{ F func() }{}, "!/F: a func() has no kind of value"},
		{map[string]any{"c": make(chan int)}, "!/c: a chan int has no kind of value"},
		{map[any]int{1: 1, 1.0: 2}, "!two keys of the map are the key 1"},
		{map[any]int{"1": 1, 1: 2}, "{1: 2, '1': 1}"},
		{map[float64]int{math.NaN(): 1, math.Inf(1): 2}, "{nan: 1, inf: 2}"},
		{map[string]any{"k": map[[2]int]int{{1, 2}: 1}}, "!/k: a list can't be a key"},
		{tree{Left: &tree{}, Other: &Other{3}}, "{'Left': {'Left': None}, 'Both': 3}"},
		{hiddenEmbedded{pointed: &pointed{4}, Y: 5}, "{'X': 4, 'Y': 5}"},
	} {
		v, err := dict.ValueOf(test.v)
		if want, fails := strings.CutPrefix(test.want, "!"); fails {
			var conversion *dict.ConversionError
			if !errors.As(err, &conversion) || !strings.Contains(err.Error(), want) {
				t.Errorf("%T: %v, %v, want %q", test.v, v, err, want)
			}
			continue
		}
		if err != nil || v.String() != test.want {
			t.Errorf("%T:\n got %v, %v\nwant %s", test.v, v, err, test.want)
		}
	}
}

// A value made from a Go value converts back to an equal Go value.
func TestGoValuesThereAndBack(t *testing.T) {
	exact := new(big.Float).SetPrec(200)
	exact.SetString("0.1")
	for _, v := range []any{
		Celsius{-3.25},
		json.RawMessage(`{"a":[1,2.5,1e400,"x"],"b":null}`), json.Number("12345678901234567890"), json.Number("1e400"),
		big.NewInt(-5), new(big.Int).Lsh(big.NewInt(1), 200), big.NewFloat(0.1), exact, big.NewFloat(math.Inf(1)), big.NewRat(-22, 7),
		UUID{3: 9},
		Decimal{"1.50"},
		Level{42},
		time.Duration(math.MaxInt64), time.Duration(math.MinInt64), time.Duration(-1),
		time.Duration(106751) * 24 * time.Hour,
		Outer{Inner{"i", 1}, "o"},
		Other{3},
		[16]byte{7},
		map[string]Level{"a": {1}},
		time.Unix(0, 1).UTC(),
		Stamped{time.Unix(5, 999).UTC(), 1},
		[]json.Number{"1", "-2.5"},
		map[string]*Celsius{"a": {1}, "b": nil},
	} {
		in, err := dict.ValueOf(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		out := reflect.New(reflect.TypeOf(v))
		if err := in.To(out.Interface()); err != nil {
			t.Errorf("%T %v: %v", v, in, err)
			continue
		}
		got := out.Elem().Interface()
		same := reflect.DeepEqual(got, v)
		if f, ok := v.(*big.Float); ok {
			same = f.Cmp(got.(*big.Float)) == 0
		}
		if n, ok := v.(json.Number); ok {
			same = strings.EqualFold(strings.ReplaceAll(string(got.(json.Number)), "+", ""), string(n))
		}
		if !same {
			t.Errorf("%T %v became %v", v, v, got)
		}
	}
	for _, test := range []struct {
		v    dict.Value
		to   any
		want string
	}{
		{mustDecimal(t, "0.1"), new(big.Float), "does not fit in big.Float"},
		{mustDecimal(t, "NaN"), new(big.Rat), "does not fit in big.Rat"},
		{dict.Bool(true), new(json.Number), "does not fit in json.Number"},
		{dict.Float(math.NaN()), new(json.Number), "does not fit in json.Number"},
		{dict.String("boom"), new(CodeError), "does not fit in dict_test.CodeError"},
		{dict.Of("X", 1).Value(), new(hiddenEmbedded), "/X: an embedded *dict_test.pointed that is not exported is nil"},
		{dict.Of("a", 1).Value(), new(Shown), "does not fit in dict_test.Shown"},
		{mustTimeDelta(t, dict.TimeDelta{Days: 106751, Seconds: 85636, Microseconds: 854775, Nanoseconds: 808}), new(time.Duration), "does not fit"},
		{mustTimeDelta(t, dict.TimeDelta{Days: -999_999_999}), new(time.Duration), "does not fit"},
	} {
		if err := test.v.To(test.to); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v to %T: %v, want %q", test.v, test.to, err, test.want)
		}
	}
	if rat := new(big.Rat); mustDecimal(t, "-0.125").To(rat) != nil || rat.Cmp(big.NewRat(-1, 8)) != 0 {
		t.Error(rat)
	}
}

func mustDecimal(t *testing.T, text string) dict.Value {
	t.Helper()
	v, err := dict.Decimal(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustTimeDelta(t *testing.T, d dict.TimeDelta) dict.Value {
	t.Helper()
	v, err := d.Value()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// encoding/json reads and writes dictionaries in order and exactly, or says what JSON can't
// represent.
func TestJSON(t *testing.T) {
	const text = `{"z":1,"a":[true,null,-0.0,1e+300,12345678901234567890123,"é\n😀"],"b":{"":{}},"c":1e400}`
	for _, into := range []any{new(dict.Dict), new(dict.Value)} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(into)
		if err != nil || string(out) != text {
			t.Errorf("%T: %s, %v", into, out, err)
		}
	}
	var holder struct {
		D *dict.Dict
		V dict.Value
	}
	if err := json.Unmarshal([]byte(`{"D":{"x":1,"x":2,"y":[]},"V":"\ud83d\ude00\ud800"}`), &holder); err != nil {
		t.Fatal(err)
	}
	if holder.D.String() != "{'x': 2, 'y': []}" || holder.V.String() != `'😀\ud800'` {
		t.Errorf("%v, %v", holder.D, holder.V)
	}
	if out, err := json.Marshal(map[string]any{"d": dict.Of("a", 1), "v": dict.List(dict.Int(1)), "n": (*dict.Dict)(nil)}); err != nil || string(out) != `{"d":{"a":1},"n":null,"v":[1]}` {
		t.Errorf("%s, %v", out, err)
	}
	for want, d := range map[string]*dict.Dict{
		"/a/0: json can't hold a float":        dict.Of("a", []any{math.NaN()}),
		"/a: json can't hold a datetime":       dict.Of("a", time.Now()),
		"/a: json can't hold a string":         dict.Of("a", "\xed\xa0\x80"),
		"/: json can't hold an int as a key":   dict.Of(1, 2),
		"/b: json can't hold a tuple":          dict.Of("a", 1, "b", dict.Tuple()),
		"/b: json can't hold a decimal":        dict.Of("b", Decimal{"1.5"}),
		"/: json can't hold an ordered dict":   dict.Of("a", 1).Ordered(),
		"/: json can't hold a string as a key": dict.Of("\xed\xa0\x80", 1),
	} {
		_, err := json.Marshal(d)
		var loss *dict.LossError
		if !errors.As(err, &loss) || loss.Text() != want {
			t.Errorf("%v: %v, want %s", d, err, want)
		}
	}
	for _, bad := range []string{`[1]`, `1`, `"a"`} {
		if err := json.Unmarshal([]byte(bad), new(dict.Dict)); err == nil {
			t.Errorf("%s became a Dict", bad)
		}
	}
	for _, bad := range []string{``, `{`, `{"a":01}`, `{"a":1}x`, `nul`} {
		if err := new(dict.Value).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if err := new(dict.Value).UnmarshalJSON([]byte(`1e9999999999999999999`)); err == nil {
		t.Error("an exponent beyond Python's")
	}
}
