// Package filter runs jq expressions on dictionaries: in the process of the reader
// ([Expression]) or, if the expression comes from somebody else, in a process with limits
// of its own ([Filters], [Work]).
//
// docs/decisions/017-a-filter-in-a-process-of-its-own.md has the reasons.
package filter

import (
	"context"
	"iter"
	"reflect"

	"github.com/itchyny/gojq"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

// An Expression is a compiled jq expression. It has no access to the environment, to
// modules or to any input other than its dictionary.
type Expression struct{ code *gojq.Code }

// Compile compiles an expression. The error may be a [*gojq.ParseError], which has the
// place of the fault.
func Compile(text string) (*Expression, error) {
	query, err := gojq.Parse(text)
	if err != nil {
		return nil, err
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil, err
	}
	return &Expression{code}, nil
}

// Run yields the results of the expression for a dictionary: the same dictionary if it was
// selected, another one within the limits, or any other jq value. An error ends the
// sequence.
func (e *Expression) Run(ctx context.Context, d *dict.Dict, limits codec.Limits) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		in := jqObject(d.Value())
		for it := e.code.RunWithContext(ctx, in); ; {
			v, ok := it.Next()
			if !ok {
				return
			}
			switch v := v.(type) {
			case error:
				yield(nil, v)
				return
			case map[string]any:
				if reflect.ValueOf(v).Pointer() == reflect.ValueOf(in).Pointer() {
					if !yield(d, nil) {
						return
					}
					continue
				}
				made, err := madeByJQ(v, limits)
				if err != nil {
					yield(nil, err)
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

// Marshal returns the JSON of a result of [Expression.Run] that is not a dictionary.
func Marshal(v any) ([]byte, error) { return gojq.Marshal(v) }

// madeByJQ converts a jq object to a dictionary.
func madeByJQ(object map[string]any, limits codec.Limits) (*dict.Dict, error) {
	text, err := gojq.Marshal(object)
	if err != nil {
		return nil, err
	}
	return json.Codec{}.Decode(text, limits)
}

// jqValue converts a value for jq. Types that jq lacks become what [substitute.Of] writes
// for them.
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

// jqObject converts a dict for jq. If keys would collide, it has the keys that
// [json.Render] writes in that case.
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
