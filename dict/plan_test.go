package dict_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A typeMaker makes random Go types and values of them.
type typeMaker struct{ *rand.Rand }

var scalarTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint16](), reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	reflect.TypeFor[string](), reflect.TypeFor[any](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[Celsius](),
	reflect.TypeFor[tree](), reflect.TypeFor[json.Number](),
}

func (m typeMaker) newType(depth int) reflect.Type {
	if depth == 0 || m.IntN(3) == 0 {
		return scalarTypes[m.IntN(len(scalarTypes))]
	}
	inner := m.newType(depth - 1)
	switch m.IntN(6) {
	case 0:
		return reflect.PointerTo(inner)
	case 1:
		return reflect.SliceOf(inner)
	case 2:
		return reflect.ArrayOf(m.IntN(4), inner)
	case 3:
		return reflect.MapOf(reflect.TypeFor[string](), inner)
	default:
		return m.newStruct(depth)
	}
}

func (m typeMaker) newStruct(depth int) reflect.Type {
	fields := make([]reflect.StructField, m.IntN(12))
	for i := range fields {
		name := "F" + strconv.Itoa(i)
		tag := []string{
			"", "", fmt.Sprintf("json:%q", "f"+strconv.Itoa(i)), `json:",omitempty"`, `json:",omitzero"`,
			fmt.Sprintf("json:%q", "é"+strconv.Itoa(i)+",omitempty"),
		}[m.IntN(6)]
		fields[i] = reflect.StructField{Name: name, Type: m.newType(depth - 1), Tag: reflect.StructTag(tag)}
	}
	return reflect.StructOf(fields)
}

func (m typeMaker) fill(r reflect.Value, depth int) {
	switch r.Type() {
	case reflect.TypeFor[netip.Addr]():
		r.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{3: byte(m.IntN(9))})))
		return
	case reflect.TypeFor[Celsius]():
		r.Set(reflect.ValueOf(Celsius{float64(m.IntN(9)) / 4}))
		return
	case reflect.TypeFor[json.Number]():
		r.SetString([]string{"1", "-2.5", "1e10"}[m.IntN(3)])
		return
	}
	if m.IntN(8) == 0 {
		return // the zero value
	}
	switch r.Kind() {
	case reflect.Bool:
		r.SetBool(m.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int64:
		r.SetInt(int64(m.Uint64()) >> (64 - r.Type().Bits() + m.IntN(r.Type().Bits())))
	case reflect.Uint16, reflect.Uint64:
		r.SetUint(m.Uint64() >> (64 - r.Type().Bits() + m.IntN(r.Type().Bits())))
	case reflect.Float32, reflect.Float64:
		r.SetFloat(float64(m.IntN(1000)-500) / 8)
	case reflect.String:
		r.SetString([]string{"", "a", "é\n", "<&>", strings.Repeat("long ", 40)}[m.IntN(5)])
	case reflect.Interface:
		if depth > 0 {
			inner := reflect.New(m.newType(1)).Elem()
			m.fill(inner, depth-1)
			r.Set(inner)
		}
	case reflect.Pointer:
		if depth > 0 {
			r.Set(reflect.New(r.Type().Elem()))
			m.fill(r.Elem(), depth-1)
		}
	case reflect.Slice:
		r.Set(reflect.MakeSlice(r.Type(), m.IntN(4), 5))
		fallthrough
	case reflect.Array:
		for i := range r.Len() {
			m.fill(r.Index(i), depth-1)
		}
	case reflect.Map:
		r.Set(reflect.MakeMap(r.Type()))
		for range m.IntN(4) {
			item := reflect.New(r.Type().Elem()).Elem()
			m.fill(item, depth-1)
			r.SetMapIndex(reflect.ValueOf("k"+strconv.Itoa(m.IntN(9))), item)
		}
	case reflect.Struct:
		for i := range r.NumField() {
			if r.Field(i).CanSet() {
				m.fill(r.Field(i), depth-1)
			}
		}
	default: // unchanged
	}
}

// For any Go type, the dictionary is what encoding/json writes, in the same order, and
// converts back to an equal value.
func TestRandomTypes(t *testing.T) {
	seed := testrand.Seed(t)
	m := typeMaker{rand.New(rand.NewPCG(seed, 0))}
	for range testrand.Many(300) {
		typ := m.newStruct(4)
		p := reflect.New(typ)
		m.fill(p.Elem(), 4)
		text, err := json.Marshal(p.Interface())
		if err != nil {
			t.Fatal(err)
		}
		d, err := dict.From(p.Interface())
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		ours, err := json.Marshal(d)
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		if got, want := tokens(ours), tokens(text); !reflect.DeepEqual(got, want) {
			t.Fatalf("%v:\n got %s\nwant %s", typ, ours, text)
		}
		if copied, err := dict.From(p.Elem().Interface()); err != nil || !copied.Equal(d) {
			t.Fatalf("%v:\n got %v, %v\nwant %v", typ, copied, err, d)
		}
		back := reflect.New(typ)
		if err := d.To(back.Interface()); err != nil {
			t.Fatalf("%v: %s: %v", typ, ours, err)
		}
		again, err := dict.From(back.Interface())
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		std := reflect.New(typ) // as read by encoding/json, since omitempty may leave out what was nil
		if err := json.Unmarshal(text, std.Interface()); err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		if got, want := readAny(t, again), readAny(t, std.Interface()); !reflect.DeepEqual(got, want) {
			t.Fatalf("%v:\n got %v\nwant %v", typ, got, want)
		}
	}
}

// readAny returns what is left of a value in JSON, without the order of keys.
func readAny(t *testing.T, v any) (read any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// tokens returns the tokens of a JSON text in order, with numbers as floats.
func tokens(text []byte) (all []json.Token) {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	for {
		token, err := dec.Token()
		if err != nil {
			return all
		}
		all = append(all, token)
	}
}

// Several goroutines make plans of types that refer to themselves and to each other.
func TestPlansAtOnce(t *testing.T) {
	type leaf struct{ N int }
	type node struct {
		Next  *node
		Nodes []node
		ByKey map[string]*node
		Leaf  leaf
	}
	v := node{Next: &node{Leaf: leaf{1}}, Nodes: []node{{}}, ByKey: map[string]*node{"a": {}}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			d, err := dict.From(v)
			var back node
			if err == nil {
				err = d.To(&back)
			}
			if err != nil || !reflect.DeepEqual(back, v) {
				t.Errorf("%v, %v", back, err)
			}
		})
	}
	wg.Wait()
}

// Celsius and Level define their values by methods; so does money.
type money struct{ cents int64 }

func (m money) DictValue() (dict.Value, error) {
	if m.cents < 0 {
		return dict.Value{}, errors.New("dict: no debts")
	}
	return dict.Tuple(dict.String("EUR"), dict.Int(m.cents)), nil
}

func (m *money) SetDictValue(v dict.Value) error {
	if v.IsNull() {
		*m = money{-1}
		return nil
	}
	var parts []any
	if err := v.To(&parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return errors.New("want a currency and an amount")
	}
	m.cents, _ = parts[1].(int64)
	return nil
}

func (money) MarshalJSON() ([]byte, error)  { return nil, errors.New("asked for JSON") }
func (*money) UnmarshalJSON(_ []byte) error { return errors.New("asked for JSON") }
func (money) MarshalText() ([]byte, error)  { return nil, errors.New("asked for text") }

func TestMarshaler(t *testing.T) {
	type bill struct {
		money
		Sum   money
		Tip   *money
		Items []money
		By    map[string]money
		Any   any
		Paid  money
	}
	in := bill{Sum: money{5}, Items: []money{{1}, {2}}, By: map[string]money{"a": {3}}, Any: money{4}}
	d, err := dict.From(in)
	const want = "{'Sum': ('EUR', 5), 'Tip': None, 'Items': [('EUR', 1), ('EUR', 2)], 'By': {'a': ('EUR', 3)}, 'Any': ('EUR', 4), 'Paid': ('EUR', 0)}"
	if err != nil || d.String() != want {
		t.Fatalf("%v, %v", d, err)
	}
	out := bill{Any: nil}
	d.Set("Paid", dict.Null())
	d.Set("Any", dict.Null())
	in.Any, in.Paid = nil, money{-1}
	if err := d.To(&out); err != nil || !reflect.DeepEqual(out, in) {
		t.Errorf("%+v, %v", out, err)
	}
	for path, v := range map[string]any{
		"dict: /a/1: no debts": map[string]any{"a": []money{{1}, {-1}}},
		"dict: /a: no debts":   map[string]*money{"a": {-1}},
	} {
		if _, err := dict.From(v); err == nil || err.Error() != path {
			t.Errorf("%v, want %s", err, path)
		}
	}
	var into struct{ A []money }
	for text, v := range map[string]dict.Value{
		"dict: /A/1: want a currency and an amount":         dict.List(dict.Null(), dict.List()),
		"dict: /A/0: the int 1 does not fit in []interface": dict.List(dict.Int(1)),
	} {
		err := dict.Of("A", v).To(&into)
		var conversion *dict.ConversionError
		if !errors.As(err, &conversion) || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
}

// Map returns Go maps and slices at all levels, and leaves values without a Go type as they
// are.
func TestMap(t *testing.T) {
	id := dict.UUID([16]byte{1, 2})
	d := dict.Of("a", 1, "b", dict.Of("c", []any{dict.Of("d", nil), 2.5}), "id", id, "t", time.Second)
	m, err := d.Map()
	delta, _ := dict.DeltaOf(time.Second).Value()
	var td any
	if err := delta.To(&td); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"a": int64(1), "b": map[string]any{"c": []any{map[string]any{"d": nil}, 2.5}}, "id": id, "t": td,
	}
	if err != nil || fmt.Sprint(m) != fmt.Sprint(want) {
		t.Errorf("%v, %v", m, err)
	}
	back, err := dict.From(m)
	if err != nil || !dict.Equal(get(back, "id"), id) || get(back, "b").Kind() != dict.KindDict {
		t.Errorf("%v, %v", back, err)
	}
	if m, err := (*dict.Dict)(nil).Map(); m == nil || len(m) != 0 || err != nil {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := dict.Of("a", []any{dict.Of(1, 2)}).Map(); err == nil || err.Error() != "dict: /a/0: the key 1 is an int, want a string" {
		t.Error(err)
	}
}

func get(d *dict.Dict, key string) dict.Value {
	v, _ := d.Get(key)
	return v
}
