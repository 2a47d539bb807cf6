package json

import (
	"bytes"
	"math"
	"strconv"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// Append appends d as JSON on one line without white space, in UTF-8 with lone
// surrogates escaped, floats with the fewest digits that read back as the same
// float. What JSON can't hold is a *[codec.LossError], unless c is Lossy: then
// Append writes what [Render] does. See [codec.Codec].
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
			return appendFloat(dst, f), nil
		}
	case dict.KindDecimal:
		if isNumber(v) {
			return appendDecimal(dst, v), nil
		}
	case dict.KindString:
		if !c.Strict || !v.HasSurrogates() {
			text, _ := v.TextBytes()
			return appendText(dst, text), nil
		}
	case dict.KindList:
		return c.appendItems(dst, v)
	case dict.KindDict:
		return c.appendPairs(dst, v)
	}
	loss := codec.Loss(name, v)
	if v.Kind() == dict.KindFloat {
		loss.Hint = "RFC 8259 has neither NaN nor infinities; use --to cbor, or --lossy to write null"
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
		if !ok || c.Strict && k.HasSurrogates() {
			return dst, codec.LossOfKey(name, k)
		}
		dst = append(appendText(dst, text), ':')
		var loss *codec.LossError
		if dst, loss = c.appendValue(dst, item); loss != nil {
			loss.Path = "/" + string(text) + loss.Path
			return dst, loss
		}
	}
	return append(dst, '}'), nil
}

func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		format = 'e'
	}
	at := len(dst)
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if format == 'f' && bytes.IndexByte(dst[at:], '.') < 0 {
		dst = append(dst, ".0"...) // a float stays a float
	}
	return dst
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

const hexDigits = "0123456789abcdef"

// appendText appends a string in quotes.
func appendText(dst, text []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c != 0xED {
			continue
		}
		if c == 0xED { // a surrogate, or a character up to U+D7FF
			if text[i+1] < 0xA0 {
				continue
			}
			dst = append(dst, text[from:i]...)
			r := 0xD000 | int(text[i+1]&0x3F)<<6 | int(text[i+2]&0x3F)
			dst = append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			i += 2
			from = i + 1
			continue
		}
		dst = append(dst, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}
