package dict_test

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/dict"
)

type base struct {
	ID   int `dict:"id"`
	Name string
}

type Pointed struct{ Deep string }

type everything struct {
	base
	*Pointed
	Tagged   string  `dict:"tag" json:"other"`
	JSON     float64 `json:"json_name,omitempty"`
	Left     int     `json:"-"`
	Empty    []int   `dict:",omitempty"`
	Pointer  *int
	Any      any
	List     []uint8Alias
	Array    [2]bool
	Map      map[int]string
	Big      *big.Int
	Addr     netip.Addr
	Dict     *dict.Dict
	Value    dict.Value
	private  int
	Embedded struct{ X int8 }
}

type uint8Alias uint16

func TestFrom(t *testing.T) {
	i := 7
	e := everything{
		base: base{1, "n"}, Tagged: "t", Left: 5, Pointer: &i, Any: map[string]any{"b": 1, "a": nil},
		List: []uint8Alias{1, 2}, Map: map[int]string{10: "x", 9: "y"}, Big: mustBig("-123456789012345678901"),
		Addr: netip.MustParseAddr("::1"), Dict: dict.Of("d", 1), Value: dict.Float(2), private: 1,
	}
	const want = "{'id': 1, 'Name': 'n', 'tag': 't', 'Pointer': 7, 'Any': {'a': None, 'b': 1}, 'List': [1, 2], " +
		"'Array': [False, False], 'Map': {9: 'y', 10: 'x'}, 'Big': -123456789012345678901, 'Addr': '::1', " +
		"'Dict': {'d': 1}, 'Value': 2.0, 'Embedded': {'X': 0}}"
	for _, v := range []any{e, &e} {
		d, err := dict.From(v)
		if err != nil || d.String() != want {
			t.Errorf("got  %v, %v\nwant %s", d, err, want)
		}
	}
	d := dict.Of("a", 1)
	if got, err := dict.From(d); got != d || err != nil {
		t.Errorf("a *Dict became %v, %v", got, err)
	}
}

func TestRoundTrip(t *testing.T) {
	e := everything{
		base: base{1, "n"}, Pointed: &Pointed{"deep"}, Tagged: "t", JSON: 1.5, Any: []any{int64(1), 2.5, nil, "x", true},
		List: []uint8Alias{1, 65535}, Array: [2]bool{true, false}, Map: map[int]string{9: "y"},
		Big: mustBig("-123456789012345678901"), Addr: netip.MustParseAddr("10.0.0.1"), Value: dict.List(dict.Int(1)),
	}
	d, err := dict.From(e)
	if err != nil {
		t.Fatal(err)
	}
	var back everything
	if err := d.To(&back); err != nil {
		t.Fatal(err)
	}
	again, err := dict.From(back)
	if err != nil || !again.Equal(d) {
		t.Errorf("got  %v, %v\nwant %v", again, err, d)
	}
	if !reflect.DeepEqual(back.Any, e.Any) || back.Deep != "deep" || back.Big.Cmp(e.Big) != 0 {
		t.Errorf("%+v", back)
	}
}

func TestFromErrors(t *testing.T) {
	type node struct{ Next *node }
	cycle := new(node)
	cycle.Next = cycle
	var none *dict.Dict
	for _, test := range []struct {
		v    any
		want string
	}{
		{42, "want a map or a struct, got int"},
		{nil, "want a map or a struct, got <nil>"},
		{none, "want a map or a struct, got *dict.Dict"},
		{[]int{1}, "want a map or a struct, got []int"},
		{map[string]any{"when": time.Time{}.AddDate(-5, 0, 0)}, "/when: -4 is no year of a datetime"},
		{map[string]any{"a": []any{1, dict.Date{Year: 2023, Month: 2, Day: 29}}}, "/a/1: 29 is no day of a date"},
		{struct{ F func() }{func() {}}, "/F: a func() has no kind of value"},
		{map[string]chan int{"c": make(chan int)}, "/c: a chan int has no kind of value"},
		{map[[1]int]int{{1}: 1}, "a list can't be a key"},
		{struct{ D dict.Dict }{}, "/D: want a *Dict: a Dict must not be copied"},
		{struct{ T encoding.TextMarshaler }{failing{}}, "/T: no text today"},
		{cycle, "nested deeper than 1000 levels"},
	} {
		_, err := dict.From(test.v)
		var conversion *dict.ConversionError
		if !errors.As(err, &conversion) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("From(%T) = %v, want %q", test.v, err, test.want)
		}
	}
}

type failing struct{}

func (failing) MarshalText() ([]byte, error) { return nil, errors.New("no text today") }

func TestTo(t *testing.T) {
	for _, test := range []struct {
		v    dict.Value
		to   any // a pointer
		want any // what it points to afterwards, or an error
	}{
		{dict.Int(255), new(uint8), uint8(255)},
		{dict.Int(256), new(uint8), errors.New("dict: the int 256 does not fit in uint8")},
		{dict.Int(-1), new(uint64), errors.New("dict: the int -1 does not fit in uint64")},
		{dict.BigInt(mustBig("18446744073709551615")), new(uint64), uint64(math.MaxUint64)},
		{dict.BigInt(mustBig("18446744073709551616")), new(uint64), errors.New("dict: the int 18446744073709551616 does not fit in uint64")},
		{dict.Int(1 << 53), new(float64), float64(1 << 53)},
		{dict.Int(1<<53 + 1), new(float64), errors.New("dict: the int 9007199254740993 does not fit in float64")},
		{dict.Float(0.5), new(float32), float32(0.5)},
		{dict.Float(0.1), new(float32), errors.New("dict: the float 0.1 does not fit in float32")},
		{dict.Float(1), new(int), errors.New("dict: the float 1.0 does not fit in int")},
		{dict.String("1"), new(int), errors.New("dict: the string '1' does not fit in int")},
		{dict.Bool(true), new(string), errors.New("dict: the bool True does not fit in string")},
		{dict.Bool(true), new(any), true},
		{dict.Null(), ptr(7), 0},
		{dict.Null(), ptr[any](7), nil},
		{dict.List(dict.Int(1)), &[]int{9, 9, 9}, []int{1}},
		{dict.List(dict.Int(1)), new([2]int), errors.New("dict: the list [1] does not fit in [2]int")},
		{dict.List(dict.Int(1), dict.Null()), new([]*int), []*int{ptr(1), nil}},
		{dict.Of("a", dict.Of("b", []any{1, "x"})).Value(), new(map[string]map[string][]int), errors.New("dict: /a/b/1: the string 'x' does not fit in int")},
		{dict.Of("a", 300).Value(), new(struct {
			A int8 `dict:"a"`
		}), errors.New("dict: /a: the int 300 does not fit in int8")},
		{dict.Of("a", 1).Value(), &map[string]int{"b": 2}, map[string]int{"a": 1, "b": 2}},
		{dict.Of("a", 1).Value(), new(int), errors.New("dict: the dict {'a': 1} does not fit in int")},
		{dict.Of(1, "x").Value(), new(map[int8]string), map[int8]string{1: "x"}},
		{dict.Of("10.0.0.1", 1).Value(), new(map[netip.Addr]int), map[netip.Addr]int{netip.MustParseAddr("10.0.0.1"): 1}},
		{dict.String("nonsense"), new(netip.Addr), errors.New(`dict: ParseAddr("nonsense"): unable to parse IP`)},
		{dict.Int(1), new(fmt.Stringer), errors.New("dict: the int 1 does not fit in fmt.Stringer")},
		{dict.Int(1), nil, errors.New("dict: To wants a pointer that is not nil, got <nil>")},
		{dict.Int(1), 5, errors.New("dict: To wants a pointer that is not nil, got int")},
	} {
		err := test.v.To(test.to)
		if want, isErr := test.want.(error); isErr {
			if err == nil || err.Error() != want.Error() {
				t.Errorf("%v to %T: %v, want %v", test.v, test.to, err, want)
			}
			continue
		}
		if got := reflect.ValueOf(test.to).Elem().Interface(); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v to %T: %v, %v, want %v", test.v, test.to, got, err, test.want)
		}
	}
	var d dict.Dict
	if err := dict.Of("a", 1).To(&d); err != nil || d.String() != "{'a': 1}" {
		t.Errorf("%v, %v", &d, err)
	}
	if err := dict.Int(1).To(&d); err == nil {
		t.Error("an int became a Dict")
	}
}

func ptr[T any](v T) *T { return &v }
