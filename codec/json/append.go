package json

import (
	"math"
	"strconv"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"

	"github.com/dictwire/dictwire/internal/jsontext"
)

// Append appends d as JSON on one line without white space, in UTF-8 with lone surrogates
// escaped, floats with the fewest digits that read back as the same float. What JSON can't
// represent is a *[codec.LossError], unless c is Lossy: then Append writes what [Render]
// does. See [codec.Codec].
func (c Codec) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	if c.Lossy {
		return Render(dst, d, nil), nil
	}
	out, loss := c.appendValue(dst, d.Value())
	if loss != nil {
		return dst, loss
	}
	return out, nil
}

func (c Codec) appendValue(dst []byte, v dict.Value) ([]byte, *codec.LossError) {
	switch v.Kind() {
	case dict.KindNull:
		return append(dst, "null"...), nil
	case dict.KindBool:
		b, _ := v.Bool()
		return strconv.AppendBool(dst, b), nil
	case dict.KindInt:
		return v.AppendInt(dst), nil
	case dict.KindFloat:
		if f, _ := v.Float(); !c.Strict || isFinite(f) {
			return jsontext.AppendFloat(dst, f), nil
		}
	case dict.KindDecimal:
		if out, ok := dict.AppendJSONNumber(dst, v); ok {
			return out, nil
		}
	case dict.KindString:
		if c.holds(v) {
			text, _ := v.TextBytes()
			return jsontext.AppendString(dst, text), nil
		}
	case dict.KindList:
		return c.appendItems(dst, v)
	case dict.KindDict:
		return c.appendPairs(dst, v)
	default: // JSON has none
	}
	loss := substitute.Loss(name, v)
	if v.Kind() == dict.KindFloat {
		loss.Hint = "RFC 8259 has neither NaN nor infinities; use cbor.Codec, or Codec.Lossy to write null"
	}
	return dst, loss
}

func (c Codec) appendItems(dst []byte, v dict.Value) ([]byte, *codec.LossError) {
	dst = append(dst, '[')
	i := 0
	for item := range v.Items() {
		if i > 0 {
			dst = append(dst, ',')
		}
		var loss *codec.LossError
		if dst, loss = c.appendValue(dst, item); loss != nil {
			loss.Path = "/" + strconv.Itoa(i) + loss.Path
			return dst, loss
		}
		i++
	}
	return append(dst, ']'), nil
}

func (c Codec) appendPairs(dst []byte, v dict.Value) ([]byte, *codec.LossError) {
	dst = append(dst, '{')
	first := true
	for k, item := range v.Pairs() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		text, ok := k.TextBytes()
		if !ok || !c.holds(k) {
			return dst, substitute.LossOfKey(name, k)
		}
		dst = append(jsontext.AppendString(dst, text), ':')
		var loss *codec.LossError
		if dst, loss = c.appendValue(dst, item); loss != nil {
			loss.Path = "/" + string(text) + loss.Path
			return dst, loss
		}
	}
	return append(dst, '}'), nil
}

// holds reports whether the string v would be read back unchanged: JSON's escapes make one
// character of a pair of surrogates.
func (c Codec) holds(v dict.Value) bool {
	return !v.HasSurrogates() || !c.Strict && !v.HasSurrogatePairs()
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
