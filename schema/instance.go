package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"

	dictjson "github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

// A farError says that a number can't be compared with others in little memory. path leads
// to it from the end.
type farError struct{ path []string }

func (e *farError) Error() string {
	at := ""
	for _, part := range e.path {
		at = "/" + escape(part) + at
	}
	return fmt.Sprintf("at %q: a number with an exponent beyond %d", at, maxExponent)
}

func (e *farError) below(part string) *farError {
	e.path = append(e.path, part)
	return e
}

// instance returns a value as a schema sees it: as JSON renders it, but for decimals,
// which are numbers.
func instance(v dict.Value) (any, *farError) {
	switch v.Kind() {
	case dict.KindNull:
		return nil, nil
	case dict.KindBool:
		is, _ := v.Bool()
		return is, nil
	case dict.KindInt:
		return json.Number(v.AppendInt(nil)), nil
	case dict.KindFloat:
		if f, _ := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, nil
	case dict.KindDecimal:
		if _, _, exp, finite := v.DecimalParts(); finite {
			if exp < -maxExponent || exp > maxExponent {
				return nil, new(farError)
			}
			text, _ := v.DecimalText()
			return json.Number(text), nil
		}
	case dict.KindList, dict.KindTuple, dict.KindSet, dict.KindFrozenSet:
		all := make([]any, 0, v.Len())
		for item := range v.Items() {
			one, far := instance(item)
			if far != nil {
				return nil, far.below(strconv.Itoa(len(all)))
			}
			all = append(all, one)
		}
		return all, nil
	case dict.KindDict, dict.KindOrderedDict:
		return object(v)
	default:
	}
	for v.Kind() != dict.KindString || v.HasSurrogates() {
		v = substitute.Of(v)
	}
	text, _ := v.Text()
	return text, nil
}

// object is instance of a dictionary.
func object(v dict.Value) (any, *farError) {
	all := make(map[string]any, v.Len())
	for k, item := range v.Pairs() {
		one, far := instance(item)
		if far != nil {
			return nil, far.below(substitute.KeyText(k))
		}
		key, _ := instance(substitute.OfKey(k))
		all[key.(string)] = one
	}
	if len(all) == v.Len() {
		return all, nil
	}
	// Keys that differ are one text.
	one := new(dict.Dict)
	one.Set("v", v)
	rendered, err := jsonschema.UnmarshalJSON(bytes.NewReader(dictjson.Render(nil, one, nil)))
	if err != nil {
		panic(err) // what is rendered is JSON
	}
	return rendered.(map[string]any)["v"], nil
}
