package json

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/fault"
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
