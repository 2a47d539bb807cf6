package cli

import (
	"context"
	"fmt"
	"iter"
	"reflect"

	"github.com/itchyny/gojq"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

// A filter is a flag's value: an expression in jq's language.
type filter struct {
	text string
	code *gojq.Code // nil: all dictionaries pass
}

// Set compiles an expression.
func (f *filter) Set(s string) error {
	query, err := gojq.Parse(s)
	if err != nil {
		return err
	}
	f.code, err = gojq.Compile(query)
	f.text = s
	return err
}

func (f *filter) String() string { return f.text }

// Type names the value in help texts.
func (*filter) Type() string { return "jq" }

// run yields the results of the filter for a dictionary: the same dictionary if it is
// selected, another dictionary, or any other value of jq. It ends after an error.
func (f *filter) run(ctx context.Context, d *dict.Dict) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		if f.code == nil {
			yield(d, nil)
			return
		}
		in := jqObject(d.Value())
		for it := f.code.RunWithContext(ctx, in); ; {
			v, ok := it.Next()
			if !ok {
				return
			}
			switch v := v.(type) {
			case error:
				yield(nil, fmt.Errorf("--filter: %w", v))
				return
			case map[string]any:
				if reflect.ValueOf(v).Pointer() == reflect.ValueOf(in).Pointer() {
					if !yield(d, nil) {
						return
					}
					continue
				}
				made, err := madeByJQ(v)
				if err != nil {
					yield(nil, fmt.Errorf("--filter: %w", err))
					return
				}
				if !yield(made, nil) {
					return
				}
			default:
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// madeByJQ converts an object of jq to a dictionary.
func madeByJQ(object map[string]any) (*dict.Dict, error) {
	text, err := gojq.Marshal(object)
	if err != nil {
		return nil, err
	}
	return json.Codec{}.Decode(text, unlimited)
}

// jqValue converts a value for jq. What jq lacks is substituted by [substitute.Of].
func jqValue(v dict.Value) any {
	switch v.Kind() {
	case dict.KindNull:
		return nil
	case dict.KindBool:
		b, _ := v.Bool()
		return b
	case dict.KindInt:
		if n, ok := v.Int(); ok {
			return int(n)
		}
		n, _ := v.BigInt()
		return n
	case dict.KindFloat:
		x, _ := v.Float()
		return x
	case dict.KindString:
		if v.HasSurrogates() {
			v = substitute.Of(v)
		}
		s, _ := v.Text()
		return s
	case dict.KindList:
		items := make([]any, 0, v.Len())
		for item := range v.Items() {
			items = append(items, jqValue(item))
		}
		return items
	case dict.KindDict:
		return jqObject(v)
	default:
		return jqValue(substitute.Of(v))
	}
}

// jqObject converts a dictionary for jq. Keys that would collide are substituted as by
// [json.Render].
func jqObject(v dict.Value) map[string]any {
	object := make(map[string]any, v.Len())
	var pairs []any
	for k, item := range v.Pairs() {
		text := substitute.OfKey(k)
		if text.HasSurrogates() {
			text = substitute.Of(text)
		}
		key, _ := text.Text()
		made := jqValue(item)
		object[key] = made
		pairs = append(pairs, []any{jqValue(k), made})
	}
	if len(object) < len(pairs) {
		return map[string]any{json.PairsKey: pairs}
	}
	return object
}
