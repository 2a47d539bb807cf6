package dict

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dictwire/dictwire/internal/jsontext"
)

// MarshalJSON returns d as RFC 8259 JSON, in the order of its keys. Values that JSON
// can't hold are a *[LossError]: NaN, infinities, lone surrogates, keys that are not
// strings, and all kinds that JSON lacks. Package codec/json writes them as extensions,
// or substitutes.
func (d *Dict) MarshalJSON() ([]byte, error) { return d.Value().MarshalJSON() }

// UnmarshalJSON sets d to a JSON object. A duplicate key keeps its first place and its
// last value.
func (d *Dict) UnmarshalJSON(text []byte) error {
	var v Value
	if err := v.UnmarshalJSON(text); err != nil {
		return err
	}
	if v.kind == KindNull {
		return nil // by the convention of encoding/json
	}
	if !v.kind.IsDict() {
		return fmt.Errorf("dict: want a JSON object, got a %s", v.kind)
	}
	d.v = v.share()
	d.ix.Store(nil)
	return nil
}

// MarshalJSON returns v as RFC 8259 JSON. See [Dict.MarshalJSON].
func (v Value) MarshalJSON() ([]byte, error) {
	text, loss := appendJSON(nil, v)
	if loss != nil {
		return nil, loss
	}
	return text, nil
}

// UnmarshalJSON sets v to the value of a JSON text: null, a bool, an int of any size, a
// float, a string, a list or a dictionary; or a decimal, for a number beyond the range of
// floats.
func (v *Value) UnmarshalJSON(text []byte) (err error) {
	*v, err = readJSON(text, false)
	return err
}

// readJSON returns the value of a JSON text. unique makes a duplicate key an error.
func readJSON(text []byte, unique bool) (Value, error) {
	if !json.Valid(text) {
		var raw json.RawMessage
		return Value{}, json.Unmarshal(text, &raw) // for its error
	}
	r := jsonReader{text: text, unique: unique}
	v := r.value()
	return v, r.err
}

// appendJSON appends v, or returns what JSON can't hold.
func appendJSON(dst []byte, v Value) ([]byte, *LossError) {
	switch v.kind {
	case KindNull:
		return append(dst, "null"...), nil
	case KindBool:
		return strconv.AppendBool(dst, v.data != 0), nil
	case KindInt:
		return v.AppendInt(dst), nil
	case KindFloat:
		if f, _ := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return jsontext.AppendFloat(dst, f), nil
		}
	case KindDecimal:
		if out, ok := AppendJSONNumber(dst, v); ok {
			return out, nil
		}
	case KindString:
		if !v.HasSurrogates() {
			return jsontext.AppendString(dst, v.t.text(v.node)), nil
		}
	case KindList:
		dst = append(dst, '[')
		i := 0
		for item := range v.Items() {
			if i > 0 {
				dst = append(dst, ',')
			}
			var loss *LossError
			if dst, loss = appendJSON(dst, item); loss != nil {
				loss.Path = "/" + strconv.Itoa(i) + loss.Path
				return dst, loss
			}
			i++
		}
		return append(dst, ']'), nil
	case KindDict:
		return appendObject(dst, v)
	default: // kinds that JSON lacks
	}
	return dst, &LossError{Codec: "json", Kind: v.kind, Hint: jsonHint}
}

const jsonHint = "use cbor.Codec, or Codec.Lossy of codec/json"

func appendObject(dst []byte, v Value) ([]byte, *LossError) {
	dst = append(dst, '{')
	first := true
	for k, item := range v.Pairs() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if k.kind != KindString || k.HasSurrogates() {
			return dst, &LossError{Codec: "json", Kind: k.kind, Key: true, Hint: jsonHint}
		}
		key := k.t.text(k.node)
		dst = append(jsontext.AppendString(dst, key), ':')
		var loss *LossError
		if dst, loss = appendJSON(dst, item); loss != nil {
			loss.Path = "/" + string(key) + loss.Path
			return dst, loss
		}
	}
	return append(dst, '}'), nil
}

// A jsonReader reads valid JSON text.
type jsonReader struct {
	text   []byte
	i      int
	unique bool  // a duplicate key is an error
	err    error // the first error, with its path
}

// item reads the value of a key, or of an index.
func (r *jsonReader) item(key any) Value {
	failed := r.err != nil
	v := r.value()
	if r.err != nil && !failed {
		r.err = under(r.err, key)
	}
	return v
}

func (r *jsonReader) fail(err error) {
	if r.err == nil {
		r.err = converted(valueType, err)
	}
}

// next returns the next byte that is neither white space nor a separator.
func (r *jsonReader) next() byte {
	for strings.IndexByte(" \t\r\n,:", r.text[r.i]) >= 0 {
		r.i++
	}
	return r.text[r.i]
}

func (r *jsonReader) value() Value {
	switch r.next() {
	case 'n':
		r.i += len("null")
		return Null()
	case 't':
		r.i += len("true")
		return Bool(true)
	case 'f':
		r.i += len("false")
		return Bool(false)
	case '"':
		return r.string()
	case '[':
		var items []Value
		for r.i++; r.next() != ']'; {
			items = append(items, r.item(len(items)))
		}
		r.i++
		return treeValue(KindList, items, len(items))
	case '{':
		var d Dict
		for r.i++; r.next() != '}'; {
			key := r.string()
			name := string(key.t.text(key.node))
			n := d.Len()
			if d.put(key, r.item(name)); r.unique && d.Len() == n {
				r.fail(fmt.Errorf("the key %q comes twice in what MarshalJSON returned", name))
			}
		}
		r.i++
		return d.Value()
	default:
		begin := r.i
		for r.i < len(r.text) && strings.IndexByte("+-.0123456789eE", r.text[r.i]) >= 0 {
			r.i++
		}
		v, err := jsonNumber(string(r.text[begin:r.i]))
		if err != nil {
			r.fail(err)
		}
		return v
	}
}

func (r *jsonReader) string() Value {
	r.i++
	begin := r.i
	for r.text[r.i] != '"' {
		if r.text[r.i] == '\\' {
			r.i++
		}
		r.i++
	}
	text, surrogates := jsontext.Unescape(nil, r.text[begin:r.i])
	r.i++
	if !surrogates {
		return String(string(text)) // encoding/json accepts invalid UTF-8
	}
	return textValue(text, node{mark: mark{kind: KindString, flags: flagSurrogate}})
}

// AppendJSONNumber appends a decimal beyond the range of floats, as a JSON number of that
// size is read. For any other value it appends nothing and returns false. It is for
// codecs.
func AppendJSONNumber(dst []byte, v Value) ([]byte, bool) {
	_, digits, _, finite := v.DecimalParts()
	if !finite || string(digits) == "0" {
		return dst, false
	}
	text, _ := v.DecimalText()
	if f, _ := strconv.ParseFloat(text, 64); !math.IsInf(f, 0) && f != 0 {
		return dst, false
	}
	mantissa, exponent, _ := strings.Cut(text, "E")
	dst = append(dst, mantissa...)
	if exponent == "" && strings.Contains(mantissa, ".") {
		return dst, true
	}
	// The exponent 0 distinguishes it from an int.
	return append(append(dst, 'e'), strings.TrimPrefix(cmp.Or(exponent, "0"), "+")...), true
}

// jsonNumber returns the value of a JSON number.
func jsonNumber(number string) (Value, error) {
	if !strings.ContainsAny(number, ".eE") {
		digits := strings.TrimPrefix(number, "-")
		if digits == "" || !allDigits(digits) || len(digits) > 1 && digits[0] == '0' {
			return Value{}, fmt.Errorf("dict: %.40q is no JSON number", number)
		}
		if i, err := strconv.ParseInt(number, 10, 64); err == nil {
			return Int(i), nil
		}
		return textValue([]byte(number), node{mark: mark{kind: KindInt, flags: flagBig}}), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case math.IsInf(f, 0), err == nil && f == 0 && hasDigits(number):
		return Decimal(number)
	case err != nil || strings.Trim(number, "+-.0123456789eE") != "":
		return Value{}, fmt.Errorf("dict: %.40q is no JSON number", number)
	default:
		return Float(f), nil
	}
}

// hasDigits reports whether a number's mantissa has a digit other than 0.
func hasDigits(number string) bool {
	mantissa := number
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa = number[:i]
	}
	return strings.ContainsAny(mantissa, "123456789")
}
