package json

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/fault"
	"github.com/dictwire/dictwire/dict"
)

// inNumberToken holds the bytes that a number, -Infinity included, is made of.
// Whatever else comes ends it.
var inNumberToken = func() (is [256]bool) {
	for _, c := range "0123456789+-.eEInfity" {
		is[c] = true
	}
	return is
}()

// number reads the number that begins at i and returns where it ends,
// incomplete (with the state set) or failed.
func (p *parser) number(buf []byte, i int) int {
	first := i
	if buf[i] == '-' {
		i++
		if i < len(buf) && buf[i] == 'I' {
			return p.word(buf, first, "-Infinity", math.Inf(-1))
		}
	}
	digits := i
	i = digitsEnd(buf, i)
	n := i - digits
	switch {
	case i == len(buf):
		p.tok = first
		return p.stop(buf, inNumber, i)
	case n == 0:
		return p.unexpected(buf, atValue, i, "a digit")
	case n > 1 && buf[digits] == '0':
		return p.unexpected(buf, atValue, digits+1, "no digit after a leading zero")
	case buf[i] == '.' || buf[i]|0x20 == 'e':
		return p.float(buf, first, i)
	case n > p.lim.Digits:
		return p.fail(buf, codec.OverLimit, first, fault.Digits(p.lim.Digits))
	case p.b == nil:
	case n < 19:
		v := int64(0)
		for _, c := range buf[digits:i] {
			v = v*10 + int64(c-'0')
		}
		if digits > first {
			v = -v
		}
		p.b.Int(v)
	default:
		if v, err := strconv.ParseInt(string(buf[first:i]), 10, 64); err == nil {
			p.b.Int(v)
		} else {
			p.b.BigInt(first, i-first)
		}
	}
	return i
}

// toNonDigit returns how many bytes of w stand before the first one that is no
// digit.
func toNonDigit(w uint64) int {
	w ^= ones * '0' // digits are 0 to 9
	return bits.TrailingZeros64((w|(w+ones*(0x7F-9)))&highs) >> 3
}

// digitsEnd returns where the digits that begin at i end.
func digitsEnd(buf []byte, i int) int {
	for i+8 <= len(buf) {
		n := toNonDigit(binary.LittleEndian.Uint64(buf[i:]))
		i += n
		if n < 8 {
			return i
		}
	}
	for i < len(buf) && buf[i]-'0' <= 9 {
		i++
	}
	return i
}

// float reads a float whose integer part ends at i.
func (p *parser) float(buf []byte, first, i int) int {
	if buf[i] == '.' {
		i++
		n := i
		if i = digitsEnd(buf, i); i < len(buf) && i == n {
			return p.unexpected(buf, atValue, i, "a digit after the decimal point")
		}
	}
	if i < len(buf) && buf[i]|0x20 == 'e' {
		i++
		if i < len(buf) && (buf[i] == '+' || buf[i] == '-') {
			i++
		}
		n := i
		if i = digitsEnd(buf, i); i < len(buf) && i == n {
			return p.unexpected(buf, atValue, i, "a digit of the exponent")
		}
	}
	if i == len(buf) {
		p.tok = first
		return p.stop(buf, inNumber, i)
	}
	if p.b != nil {
		// A value out of range is ±Inf, as in Python.
		v, _ := strconv.ParseFloat(string(buf[first:i]), 64)
		p.b.Float(v)
	}
	return i
}

// literal reads the word that begins at i and returns where it ends,
// incomplete (with the state set) or failed.
func (p *parser) literal(buf []byte, i int) int {
	switch buf[i] {
	case 't':
		if end := p.match(buf, i, "true"); end != 0 {
			if end > 0 && p.b != nil {
				p.b.Bool(true)
			}
			return end
		}
	case 'f':
		if end := p.match(buf, i, "false"); end != 0 {
			if end > 0 && p.b != nil {
				p.b.Bool(false)
			}
			return end
		}
	case 'n':
		if end := p.match(buf, i, "null"); end != 0 {
			if end > 0 && p.b != nil {
				p.b.Null()
			}
			return end
		}
	case 'N':
		return p.word(buf, i, "NaN", math.NaN())
	case 'I':
		return p.word(buf, i, "Infinity", math.Inf(1))
	}
	return p.unexpected(buf, atValue, i, "a value")
}

// word reads one of Python's three words for a float.
func (p *parser) word(buf []byte, i int, word string, v float64) int {
	end := p.match(buf, i, word)
	switch {
	case end == 0:
		return p.unexpected(buf, atValue, i, "a value")
	case end > 0 && p.b != nil:
		p.b.Float(v)
	}
	return end
}

// match returns where word ends, incomplete if it may still come, or 0.
func (p *parser) match(buf []byte, i int, word string) int {
	got := buf[i:min(i+len(word), len(buf))]
	switch {
	case string(got) == word:
		return i + len(word)
	case string(got) == word[:len(got)]:
		return p.stop(buf, atValue, i)
	default:
		return 0
	}
}

// buildText adds the string whose raw text, at off in the record, is given.
func (p *parser) buildText(raw []byte, off int) {
	if !p.escape {
		p.b.Text(off, len(raw))
		return
	}
	p.b.OwnText(unescape(p.b.Own(), raw))
}

// unescape appends the text that a checked string means to dst, and reports
// whether it holds lone surrogates, which it writes as WTF-8.
func unescape(dst, raw []byte) (text []byte, surrogates bool) {
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
		r := hex4(raw)
		raw = raw[4:]
		if r < 0xD800 || r > 0xDFFF {
			dst = utf8.AppendRune(dst, r)
			continue
		}
		if r < 0xDC00 && len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
			if low := hex4(raw[2:]); low >= 0xDC00 && low <= 0xDFFF {
				dst = utf8.AppendRune(dst, (r-0xD800)<<10|(low-0xDC00)+0x10000)
				raw = raw[6:]
				continue
			}
		}
		dst = dict.AppendSurrogate(dst, r)
		surrogates = true
	}
}

var unescaped = [256]byte{
	'"': '"', '\\': '\\', '/': '/',
	'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

const notHex = 0xFF

var unhex = func() (v [256]byte) {
	for c := range v {
		switch {
		case '0' <= c && c <= '9':
			v[c] = byte(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v[c] = byte(c|0x20-'a') + 10
		default:
			v[c] = notHex
		}
	}
	return v
}()

func hex4(b []byte) rune {
	return rune(unhex[b[0]])<<12 | rune(unhex[b[1]])<<8 | rune(unhex[b[2]])<<4 | rune(unhex[b[3]])
}
