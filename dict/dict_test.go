package dict_test

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// decode returns a dictionary in its decoded form.
func decode(t testing.TB, text string) *dict.Dict {
	t.Helper()
	d, err := json.Codec{DuplicateKeys: json.KeepLast}.Decode([]byte(text), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestZero(t *testing.T) {
	var zero dict.Dict
	var none *dict.Dict
	for _, d := range []*dict.Dict{&zero, none} {
		if d.Len() != 0 || d.String() != "{}" || !d.Equal(new(dict.Dict)) || d.Value().Len() != 0 || d.Clone().Len() != 0 {
			t.Errorf("%v is not empty", d)
		}
		if _, ok := d.Get("a"); ok {
			t.Error("a key from nowhere")
		}
		for k, v := range d.All() {
			t.Error(k, v)
		}
	}
	if zero.Delete("a") {
		t.Error("a key was deleted from nowhere")
	}
	zero.Set("a", dict.Value{})
	if got := zero.String(); got != "{'a': None}" {
		t.Error(got)
	}
	if v := (dict.Value{}); v.Kind() != dict.KindNull || !v.IsNull() || v.String() != "None" {
		t.Error("the zero Value is not null")
	}
}

// What a Value shows never changes, whatever happens to its Dict.
func TestValuesDoNotChange(t *testing.T) {
	for name, d := range map[string]*dict.Dict{
		"decoded":  decode(t, `{"a":1,"l":[1,{"x":2}],"d":{"k":"v"}}`),
		"by hand":  dict.Of("a", 1, "l", []any{1, dict.Of("x", 2)}, "d", dict.Of("k", "v")),
		"clone":    decode(t, `{"a":1,"l":[1,{"x":2}],"d":{"k":"v"}}`).Clone(),
		"of value": must(decode(t, `{"a":1,"l":[1,{"x":2}],"d":{"k":"v"}}`).Value().Dict()),
	} {
		const want = "{'a': 1, 'l': [1, {'x': 2}], 'd': {'k': 'v'}}"
		before := d.Value()
		inner, _ := d.Get("d")
		innerDict, _ := inner.Dict()
		innerDict.Set("k", dict.Int(7))
		innerDict.Set("new", dict.Int(8))
		again := d.Value()
		d.Set("a", dict.Int(2))
		d.Delete("l")
		d.Set("z", dict.Int(3))
		if before.String() != want || again.String() != want || inner.String() != "{'k': 'v'}" {
			t.Errorf("%s: values changed: %s, %s, %s", name, before, again, inner)
		}
		if got := innerDict.String(); got != "{'k': 7, 'new': 8}" {
			t.Errorf("%s: %s", name, got)
		}
		if got := d.String(); got != "{'a': 2, 'd': {'k': 'v'}, 'z': 3}" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func must(d *dict.Dict, _ bool) *dict.Dict { return d }

func TestCloneStandsAlone(t *testing.T) {
	src := []byte(`{"text":"abc","esc":"\u00e9","big":123456789012345678901234567890,"l":["x"]}`)
	d, err := json.Codec{}.Decode(src, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := d.String()
	clone := d.Clone()
	for i := range src {
		src[i] = '#'
	}
	if got := clone.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if d.String() == want {
		t.Error("the original does not refer to its bytes: is Clone needed?")
	}
}

func TestKeys(t *testing.T) {
	huge, _ := new(big.Int).SetString("1267650600228229401496703205376", 10) // 2¹⁰⁰
	for _, same := range [][]dict.Value{
		{dict.Int(1), dict.Float(1), dict.Bool(true)},
		{dict.Int(0), dict.Float(0), dict.Float(math.Copysign(0, -1)), dict.Bool(false)},
		{dict.BigInt(huge), dict.Float(math.Ldexp(1, 100))},
		{dict.Int(1 << 62), dict.Float(1 << 62)},
		{dict.Int(math.MinInt64), dict.Float(math.MinInt64)},
		{dict.Float(math.Inf(1)), dict.Float(math.Inf(1))},
		{dict.String("é"), decodedKey(t, `{"\u00e9":0}`)},
		{dict.Null(), dict.Null()},
	} {
		for _, a := range same {
			for _, b := range same {
				d := new(dict.Dict)
				for i := range 20 { // enough for an index
					setKey(t, d, a, dict.Int(1))
					setKey(t, d, b, dict.Int(2))
					if d.Len() != i+1 {
						t.Fatalf("%v and %v are two keys", a, b)
					}
					if v, ok := d.GetKey(b); !ok || v.String() != "2" {
						t.Errorf("the value under %v is %v", b, v)
					}
					for k := range d.All() {
						if !dict.Equal(k, a) {
							t.Errorf("the key %v became %v", a, k)
						}
						break
					}
					d.Set(fmt.Sprint("other", i), dict.Null())
				}
			}
		}
	}
	different := []dict.Value{
		dict.Null(), dict.Int(1), dict.Int(2), dict.Float(1.5), dict.String("1"), dict.String(""), dict.BigInt(huge),
		dict.Float(math.NaN()), dict.Float(math.NaN()), dict.Float(math.Inf(-1)), dict.Int(math.MaxInt64), dict.Float(math.MaxInt64),
	}
	d := new(dict.Dict)
	for _, k := range different {
		setKey(t, d, k, k)
	}
	if d.Len() != len(different) {
		t.Errorf("%d different keys make %d", len(different), d.Len())
	}
	err := d.SetKey(dict.List(), dict.Null())
	if err == nil || err.Error() != "dict: a list can't be a key (unhashable)" {
		t.Error(err)
	}
	if _, ok := d.GetKey(dict.List()); ok || d.DeleteKey(d.Value()) {
		t.Error("an unhashable key was found")
	}
}

func decodedKey(t *testing.T, text string) dict.Value {
	t.Helper()
	for k := range decode(t, text).All() {
		return k
	}
	return dict.Value{}
}

func setKey(t *testing.T, d *dict.Dict, k, v dict.Value) {
	t.Helper()
	if err := d.SetKey(k, v); err != nil {
		t.Fatal(err)
	}
}

func TestEqual(t *testing.T) {
	same := decode(t, `{"a":1,"b":[1.5,"x",null,true,{}],"c":{"d":123456789012345678901}}`)
	byHand := dict.Of("a", 1, "b", []any{1.5, "x", nil, true, map[string]int{}},
		"c", dict.Of("d", mustBig("123456789012345678901")))
	if !same.Equal(byHand) || !byHand.Equal(same) {
		t.Errorf("%v and %v differ", same, byHand)
	}
	for _, text := range []string{
		`{"a":1.0,"b":[1.5,"x",null,true,{}],"c":{"d":123456789012345678901}}`,
		`{"a":1,"b":[1.5,"x",null,true],"c":{"d":123456789012345678901}}`,
		`{"a":1,"b":[1.5,"x",null,true,{}],"c":{"d":123456789012345678902}}`,
		`{"a":1,"b":[1.5,"x",null,false,{}],"c":{"d":123456789012345678901}}`,
		`{"a":1,"b":[1.5,"y",null,true,{}],"c":{"d":123456789012345678901}}`,
		`{"b":[1.5,"x",null,true,{}],"a":1,"c":{"d":123456789012345678901}}`,
		`{"a":1,"b":[1.5,"x",null,true,[]],"c":{"d":123456789012345678901}}`,
	} {
		if same.Equal(decode(t, text)) {
			t.Errorf("%v equals %s", same, text)
		}
	}
	if !dict.Equal(dict.Float(math.NaN()), dict.Float(math.NaN())) || dict.Equal(dict.Float(0), dict.Float(math.Copysign(0, -1))) {
		t.Error("NaN must equal NaN, and 0.0 not -0.0")
	}
}

func mustBig(s string) *big.Int {
	i, _ := new(big.Int).SetString(s, 10)
	return i
}

func TestSurrogates(t *testing.T) {
	for _, test := range []struct {
		in, repr   string
		surrogates bool
	}{
		{"é😀", "'é😀'", false},
		{"\xed\xa0\x80", `'\ud800'`, true},
		{"a\xff", `'a\udcff'`, true},
		{"\xed\xbf\xbf!", `'\udfff!'`, true},
		{"\xc0\x80", `'\udcc0\udc80'`, true},
	} {
		v := dict.String(test.in)
		if v.String() != test.repr || v.HasSurrogates() != test.surrogates {
			t.Errorf("%q: %s, %v", test.in, v, v.HasSurrogates())
		}
		text, _ := v.Text()
		if !dict.Equal(dict.String(text), v) {
			t.Errorf("%q does not come back", test.in)
		}
	}
}

// Any number of goroutines may read a Dict, first lookups included.
func TestConcurrentReaders(t *testing.T) {
	text := "{"
	for i := range 100 {
		text += fmt.Sprintf(`"k%d":%d,`, i, i)
	}
	d := decode(t, text+`"end":[]}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				if v, ok := d.Get(fmt.Sprint("k", i)); !ok || v.String() != fmt.Sprint(i) {
					t.Errorf("k%d: %v", i, v)
				}
				_ = d.Value()
				_ = d.String()
			}
		})
	}
	wg.Wait()
}

// A Dict behaves like a list of pairs that is searched from the front.
func TestAgainstModel(t *testing.T) {
	type pair struct {
		key   string
		value int64
	}
	rapid.Check(t, func(t *rapid.T) {
		var model []pair
		d := new(dict.Dict)
		if rapid.Bool().Draw(t, "decoded") {
			n := rapid.IntRange(0, 30).Draw(t, "n")
			text := "{"
			for i := range n {
				if i > 0 {
					text += ","
				}
				text += fmt.Sprintf(`"k%d":%d`, i, i)
				model = append(model, pair{fmt.Sprint("k", i), int64(i)})
			}
			var err error
			if d, err = (json.Codec{}).Decode([]byte(text+"}"), codec.Limits{}); err != nil {
				t.Fatal(err)
			}
		}
		type snapshot struct {
			v    dict.Value
			want string
		}
		var snapshots []snapshot
		keys := rapid.Map(rapid.IntRange(0, 40), func(i int) string { return fmt.Sprint("k", i) })
		find := func(key string) int {
			return slices.IndexFunc(model, func(p pair) bool { return p.key == key })
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				key, value := keys.Draw(t, "key"), rapid.Int64().Draw(t, "value")
				d.Set(key, dict.Int(value))
				if at := find(key); at >= 0 {
					model[at].value = value
				} else {
					model = append(model, pair{key, value})
				}
			},
			"delete": func(t *rapid.T) {
				key := keys.Draw(t, "key")
				at := find(key)
				if d.Delete(key) != (at >= 0) {
					t.Fatalf("Delete(%s)", key)
				}
				if at >= 0 {
					model = slices.Delete(model, at, at+1)
				}
			},
			"get": func(t *rapid.T) {
				key := keys.Draw(t, "key")
				v, ok := d.Get(key)
				at := find(key)
				if got, _ := v.Int(); ok != (at >= 0) || ok && got != model[at].value {
					t.Fatalf("Get(%s) = %v, %v", key, v, ok)
				}
			},
			"snapshot": func(*rapid.T) {
				v := d.Value()
				snapshots = append(snapshots, snapshot{v, v.String()})
			},
			"clone": func(*rapid.T) { d = d.Clone() },
			"": func(t *rapid.T) {
				want := "{"
				for i, p := range model {
					if i > 0 {
						want += ", "
					}
					want += fmt.Sprintf("'%s': %d", p.key, p.value)
				}
				if got := d.String(); got != want+"}" || d.Len() != len(model) {
					t.Fatalf("got %s, want %s}", got, want)
				}
				for _, s := range snapshots {
					if s.v.String() != s.want {
						t.Fatalf("a value changed from %s to %s", s.want, s.v)
					}
				}
			},
		})
	})
}
