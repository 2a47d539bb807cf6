package codec_test

import (
	"bytes"
	"testing"

	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// A Builder's keys are equal exactly if those of AppendKey are.
func TestBuilderKeys(t *testing.T) {
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), dict.Kinds())
	// twin returns an equal value, or nearly equal one, in a different form.
	var twin func(v dict.Value) dict.Value
	twin = func(v dict.Value) dict.Value {
		var items []dict.Value
		for item := range v.Items() {
			items = append(items, twin(item))
		}
		switch v.Kind() {
		case dict.KindTuple:
			return dict.Tuple(items...)
		case dict.KindFrozenSet:
			g.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
			return must(dict.FrozenSet(items...))
		case dict.KindInt:
			if i, ok := v.Int(); ok && i>>50 == 0 {
				return dict.Float(float64(i))
			}
		case dict.KindBool:
			b, _ := v.Bool()
			return dict.Int(map[bool]int64{true: 1}[b])
		case dict.KindString:
			if g.IntN(60) == 0 {
				return dict.String("another")
			}
		default: // unchanged
		}
		return v
	}
	var deep func(depth int) dict.Value
	deep = func(depth int) dict.Value {
		var items []dict.Value
		for range 1 + g.IntN(8) {
			item := g.Of([]dict.Kind{dict.KindInt, dict.KindString, dict.KindFloat, dict.KindBool, dict.KindBytes, dict.KindDate}[g.IntN(6)])
			if depth > 0 && g.IntN(2) == 0 {
				item = deep(depth - 1)
			}
			items = append(items, item)
		}
		if g.IntN(2) == 0 {
			return dict.Tuple(items...)
		}
		return must(dict.FrozenSet(items...))
	}
	same, other := 0, 0
	for range testrand.Many(500) {
		var b dict.Builder
		b.Reset(nil)
		v := deep(4)
		w := twin(v)
		b.Add(v)
		place := b.Len()
		b.Add(w)
		for range 2 { // the second time from the cache
			got, ok := b.AppendKey(nil, 0)
			got2, ok2 := b.AppendKey([]byte("before"), place)
			want, wantOK := dict.AppendKey(nil, v)
			want2, wantOK2 := dict.AppendKey(nil, w)
			if equal := bytes.Equal(want, want2); bytes.Equal(got, got2[len("before"):]) != equal || ok != wantOK || ok2 != wantOK2 {
				t.Fatalf("%v\n%v\nkeys are equal: %v, want %v; %v, %v, want %v, %v", v, w, !equal, equal, ok, ok2, wantOK, wantOK2)
			} else if equal {
				same++
			} else {
				other++
			}
		}
		copied := b.Len()
		b.Repeat(place)
		if !dict.Equal(b.At(copied), w) {
			t.Fatalf("%v is repeated as %v", w, b.At(copied))
		}
	}
	if same < 5 || other < 5 {
		t.Errorf("%d were the same, %d not", same, other)
	}
}
