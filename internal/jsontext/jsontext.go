// Package jsontext is how JSON writes strings and floats. It is shared by dict, whose
// values are JSON to encoding/json, and by the JSON codec.
package jsontext

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// AppendFloat appends a float with the fewest digits that read back as the same one:
// always with a point or an exponent, and NaN and infinities as Python's json does.
func AppendFloat(dst []byte, f float64) []byte {
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

const hexDigits = "0123456789abcdef"

// plain returns the offset of the first byte of text, from i on, that may not be written as
// it is, or len(text).
func plain(text []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		// A byte is marked in its highest bit. Marks above the lowest one may be wrong.
		quote, slash, surrogate := w^ones*'"', w^ones*'\\', w^ones*0xED
		m := (((w-ones*' ')|(quote-ones)|(slash-ones))&^w | (surrogate-ones)&^surrogate) & highs
		if m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c == 0xED {
			break
		}
	}
	return i
}

// AppendString appends a string, UTF-8 or WTF-8, in quotes. Lone surrogates are
// escaped.
func AppendString(dst, text []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := plain(text, 0); i < len(text); i = plain(text, i+1) {
		c := text[i]
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

// Unescape appends to dst the text that the inside of a valid string means, and reports
// whether it holds lone surrogates, which it writes as WTF-8.
func Unescape(dst, raw []byte) (text []byte, surrogates bool) {
	for {
		n := bytes.IndexByte(raw, '\\')
		if n < 0 {
			return append(dst, raw...), surrogates
		}
		dst = append(dst, raw[:n]...)
		c := raw[n+1]
		if raw = raw[n+2:]; c != 'u' {
			dst = append(dst, unescaped[c])
			continue
		}
		r := Hex4(raw)
		raw = raw[4:]
		if r < 0xD800 || r > 0xDFFF {
			dst = utf8.AppendRune(dst, r)
			continue
		}
		if r < 0xDC00 && len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
			if low := Hex4(raw[2:]); low >= 0xDC00 && low <= 0xDFFF {
				dst = utf8.AppendRune(dst, (r-0xD800)<<10|(low-0xDC00)+0x10000)
				raw = raw[6:]
				continue
			}
		}
		dst = append(dst, 0xED, 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
		surrogates = true
	}
}

var unescaped = [256]byte{
	'"': '"', '\\': '\\', '/': '/',
	'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// NotHex is what Unhex has for a byte that is no hexadecimal digit.
const NotHex = 0xFF

// Unhex has the value of each hexadecimal digit, and NotHex for any other byte.
var Unhex = func() (v [256]byte) {
	for c := range v {
		switch {
		case '0' <= c && c <= '9':
			v[c] = byte(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v[c] = byte(c|0x20-'a') + 10
		default:
			v[c] = NotHex
		}
	}
	return v
}()

// Hex4 returns the number of the four hexadecimal digits that b begins with.
func Hex4(b []byte) rune {
	return rune(Unhex[b[0]])<<12 | rune(Unhex[b[1]])<<8 | rune(Unhex[b[2]])<<4 | rune(Unhex[b[3]])
}
