// Package filter runs expressions of the language jq on dictionaries: in the process of
// whoever reads ([Expression]), or, where the expression is somebody else's, in a process
// of its own that the system bounds ([Filters], [Work]).
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

// An Expression is one of jq that was compiled. It knows no environment, no modules and no
// other input than the dictionary that it is given.
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

// Run yields what the expression makes of a dictionary: the same one where it selects it,
// another dictionary within the limits, or any other value that jq has. An error is the
// last that is yielded.
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

// Marshal returns a value that is no dictionary, as [Expression.Run] yields it, as JSON.
func Marshal(v any) ([]byte, error) { return gojq.Marshal(v) }

// madeByJQ returns an object of jq as a dictionary.
func madeByJQ(object map[string]any, limits codec.Limits) (*dict.Dict, error) {
	text, err := gojq.Marshal(object)
	if err != nil {
		return nil, err
	}
	return json.Codec{}.Decode(text, limits)
}

// jqValue returns a value as jq has it: what it lacks is what [substitute.Of]
// writes for it.
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

// jqObject returns a dict as jq has it. Where keys would become the same, it is
// what [json.Render] writes for that.
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
