package python

import (
	"bytes"
	"math"
	"math/big"
	"strconv"

	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// number reads the number that begins at p.tok; everything before i has been read already.
func (p *parser) number(buf []byte, i int) int {
	for ; i < len(buf); i++ {
		c := buf[i]
		sign := (c == '+' || c == '-') && i > p.tok && buf[i-1]|0x20 == 'e' && !hasBase(buf[p.tok:i])
		if !isDigit(c) && !isLetter(c) && c != '.' && !sign {
			if !p.buildNumber(buf[p.tok:i]) {
				return failed
			}
			return p.built(i, unsigned)
		}
	}
	return p.stop(i)
}

// hasBase reports whether a number begins as 0x, 0o or 0b.
func hasBase(token []byte) bool {
	return len(token) > 1 && token[0] == '0' && isLetter(token[1]|0x20) && bytes.IndexByte([]byte("xob"), token[1]|0x20) >= 0
}

// buildNumber adds a number.
func (p *parser) buildNumber(token []byte) bool {
	digits, ok := p.withoutUnderscores(token)
	if !ok {
		return p.badNumber(token)
	}
	last := digits[len(digits)-1]
	switch {
	case hasBase(digits):
		base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[digits[1]|0x20]
		n, ok := new(big.Int).SetString(string(digits[2:]), base)
		if !ok || !isHex(digits[2]) {
			return p.badNumber(token)
		}
		own := n.Append(p.b.Own(), 10)
		if len(own)-len(p.b.Own()) > p.lim.Digits {
			return p.tooManyDigits()
		}
		p.b.OwnInt(own)
	case last|0x20 == 'j':
		f, ok := floatOf(digits[:len(digits)-1])
		if !ok {
			return p.badNumber(token)
		}
		p.b.Complex(complex(0, f))
	case len(bytes.TrimLeft(digits, "0123456789")) > 0:
		f, ok := floatOf(digits)
		if !ok {
			return p.badNumber(token)
		}
		p.b.Float(f)
	default:
		significant := bytes.TrimLeft(digits, "0")
		switch {
		case len(significant) > p.lim.Digits:
			return p.tooManyDigits()
		case len(significant) == 0:
			p.b.Int(0)
		case len(significant) < len(digits):
			return p.badNumber(token)
		default:
			p.b.OwnInt(append(p.b.Own(), significant...))
		}
	}
	return true
}

// withoutUnderscores returns a number without the underscores between its digits.
func (p *parser) withoutUnderscores(token []byte) (digits []byte, ok bool) {
	if bytes.IndexByte(token, '_') < 0 {
		return token, true
	}
	based := hasBase(token)
	p.digits = p.digits[:0]
	for i, c := range token {
		if c != '_' {
			p.digits = append(p.digits, c)
			continue
		}
		isDigitHere := func(c byte) bool { return isDigit(c) || based && isHex(c) }
		before := i > 0 && (isDigitHere(token[i-1]) || based && i == 2)
		if !before || i+1 == len(token) || !isDigitHere(token[i+1]) {
			return nil, false
		}
	}
	return p.digits, true
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// floatOf returns the float that Python reads: digits with a point, an exponent,
// both or none. One out of range is infinite.
func floatOf(text []byte) (float64, bool) {
	digits := 0
	i := 0
	for ; i < len(text) && isDigit(text[i]); i++ {
		digits++
	}
	if i < len(text) && text[i] == '.' {
		for i++; i < len(text) && isDigit(text[i]); i++ {
			digits++
		}
	}
	if digits == 0 {
		return 0, false
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if i == len(text) {
			return 0, false
		}
		for ; i < len(text) && isDigit(text[i]); i++ {
		}
	}
	if i < len(text) {
		return 0, false
	}
	f, _ := strconv.ParseFloat(string(text), 64)
	return f, true
}

func (p *parser) badNumber(token []byte) bool {
	const most = 40
	text := strconv.Quote(string(token[:min(len(token), most)]))
	p.fail(fault.Malformed, p.tok, "want a number, got "+text)
	if len(token) > 1 && token[0] == '0' && isDigit(token[1]) {
		p.err.Hint = "Python has no leading zeros; octal numbers begin with 0o"
	}
	return false
}

func (p *parser) tooManyDigits() bool {
	p.fail(fault.OverLimit, p.tok, wording.Digits(p.lim.Digits))
	return false
}

// operate applies the operator f to its operands, the last of which was just read. It sets
// p.num to the result.
func (p *parser) operate(f *frame) bool {
	v := p.b.At(f.item)
	if p.num != unsigned {
		return false
	}
	if f.kind == isSum {
		return p.sum(f, v)
	}
	p.num = signed
	if !f.minus {
		return true
	}
	switch v.Kind() {
	case dict.KindInt:
		if n, ok := v.Int(); ok {
			if n == 0 {
				p.num = negativeZero
			}
			p.b.Drop(f.item)
			p.b.Int(-n)
			return true
		}
		own := v.AppendInt(append(p.b.Own(), '-'))
		p.b.Drop(f.item)
		p.b.OwnInt(own)
	case dict.KindFloat:
		x, _ := v.Float()
		p.b.Drop(f.item)
		p.b.Float(-x)
	default:
		z, _ := v.Complex()
		p.b.Drop(f.item)
		p.b.Complex(complex(0, -imag(z)))
	}
	return true
}

// sum makes one complex number of a real and an imaginary one.
func (p *parser) sum(f *frame, right dict.Value) bool {
	imaginary, ok := right.Complex()
	if !ok {
		return false
	}
	left := p.b.At(f.place)
	re, ok := left.Float()
	if !ok {
		p.digits = left.AppendInt(p.digits[:0])
		re, _ = strconv.ParseFloat(string(p.digits), 64)
		if math.IsInf(re, 0) { // Python's OverflowError
			return false
		}
	}
	if f.left == negativeZero {
		re = math.Copysign(0, -1)
	}
	im := imag(imaginary)
	if f.minus {
		im = -im
	}
	p.b.Drop(f.place)
	p.b.Complex(complex(re, im))
	p.num = notNumber
	return true
}
