package json

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"

	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// inNumberToken has the bytes that may be in a number, including -Infinity. Any other byte
// ends it.
var inNumberToken = func() (is [256]bool) {
	for _, c := range "0123456789+-.eEInfity" {
		is[c] = true
	}
	return is
}()

// number reads the number at i. It returns where the number ends, incomplete (with the
// state set) or failed.
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
		return p.fail(buf, fault.OverLimit, first, wording.Digits(p.lim.Digits))
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

// restOfNumber continues at i in the number that begins at p.tok, whose end had not arrived.
// It returns what number does.
func (p *parser) restOfNumber(buf []byte, i int) int {
	for i < len(buf) && inNumberToken[buf[i]] {
		i++
	}
	if i == len(buf) {
		return p.stop(buf, inNumber, i)
	}
	return p.number(buf, p.tok)
}

// toNonDigit returns how many bytes of w precede the first one that is not a digit.
func toNonDigit(w uint64) int {
	w ^= ones * '0' // digits are 0 to 9
	return bits.TrailingZeros64((w|(w+ones*(0x7F-9)))&highs) >> 3
}

// toInt returns the number that the first n bytes of w, 1 to 8 digits, spell.
func toInt(w uint64, n int) int64 {
	w <<= 64 - 8*uint(n) // zeros in front
	w = w & 0x0F0F0F0F0F0F0F0F * (10<<8 + 1) >> 8
	w = w & 0x00FF00FF00FF00FF * (100<<16 + 1) >> 16
	return int64(w & 0x0000FFFF0000FFFF * (10000<<32 + 1) >> 32)
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
	exponent := 0 // its digits
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
		exponent = i - n
	}
	if i == len(buf) {
		p.tok = first
		return p.stop(buf, inNumber, i)
	}
	const surelyFits = 200 // bytes, and as many powers of ten with an exponent of two digits
	if i-first > surelyFits || exponent > 2 {
		return p.wideFloat(buf, first, i)
	}
	if p.b != nil {
		v, exact := shortFloat(buf[first:i])
		if !exact {
			v, _ = strconv.ParseFloat(string(buf[first:i]), 64)
		}
		p.b.Float(v)
	}
	return i
}

// shortFloat returns the float that number spells, if it has no exponent, and so few digits
// that they and the power of ten by which they are divided are floats: then the division
// rounds to the nearest one.
func shortFloat(number []byte) (v float64, exact bool) {
	if len(number) > len(powersOfTen) {
		return 0, false
	}
	var (
		digits uint64
		point  = len(number) - 1
	)
	for i, c := range number {
		switch {
		case c-'0' <= 9:
			digits = digits*10 + uint64(c-'0')
		case c == '.':
			point = i
		case c != '-':
			return 0, false
		}
	}
	if digits > 1<<53 {
		return 0, false
	}
	v = float64(digits) / powersOfTen[len(number)-1-point]
	if number[0] == '-' {
		v = -v
	}
	return v, true
}

var powersOfTen = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16}

// wideFloat builds the number buf[first:end], which may be a decimal because no float is
// near it.
func (p *parser) wideFloat(buf []byte, first, end int) int {
	mantissa, exponent := buf[first:end], []byte(nil)
	if i := bytes.IndexAny(mantissa, "eE"); i >= 0 {
		mantissa, exponent = mantissa[:i], mantissa[i+1:]
	}
	exp := clamped(exponent)
	if i := bytes.IndexByte(mantissa, '.'); i >= 0 {
		exp -= int64(len(mantissa) - i - 1)
	}
	significant := bytes.TrimLeft(mantissa, "-0.")
	n := len(significant)
	if bytes.IndexByte(significant, '.') >= 0 {
		n--
	}
	// The number is 0.ddd × 10^magnitude.
	isFloat, magnitude := n == 0, exp+int64(n)
	switch {
	case isFloat || magnitude > 310 || magnitude < -330:
	case magnitude < 308 && magnitude > -307 && p.b == nil:
		isFloat = true
	default:
		f, _ := strconv.ParseFloat(string(buf[first:end]), 64)
		isFloat = isFinite(f) && f != 0
	}
	switch {
	case isFloat && p.b != nil:
		f, _ := strconv.ParseFloat(string(buf[first:end]), 64)
		p.b.Float(f)
	case isFloat:
	case n > p.lim.Digits:
		return p.fail(buf, fault.OverLimit, first, wording.Digits(p.lim.Digits))
	case !dict.DecimalFits(n, exp):
		return p.fail(buf, fault.OverLimit, first, "the number's exponent is beyond what a decimal of Python holds")
	case p.b != nil:
		digits := bytes.ReplaceAll(significant, []byte{'.'}, nil)
		own, _ := dict.AppendDecimal(p.b.Own(), mantissa[0] == '-', digits, exp) // it fits
		p.b.OwnRef(dict.KindDecimal, own)
	}
	return end
}

// clamped returns the number that an exponent's digits spell, or one that is as far
// beyond all limits.
func clamped(exponent []byte) int64 {
	const most = 9e18
	n, negative := int64(0), false
	for _, c := range exponent {
		switch {
		case c == '-':
			negative = true
		case c == '+':
		case n < most/10:
			n = 10*n + int64(c-'0')
		default:
			n = most
		}
	}
	if negative {
		return -n
	}
	return n
}
