package cbor

import (
	"bytes"
	"math"
	"math/big"
	"math/bits"
	"strconv"

	"github.com/dictwire/dictwire/dict"
)

// bignum builds an integer of any size.
func (p *parser) bignum(content []byte, minus bool) string {
	if !p.digitsFit(content, minus) {
		return tooManyDigits
	}
	if p.B != nil {
		p.B.OwnInt(bigInt(content, minus).Append(p.B.Own(), 10))
	}
	return ""
}

func bigInt(content []byte, minus bool) *big.Int {
	v := new(big.Int).SetBytes(content)
	if minus {
		v.Not(v)
	}
	return v
}

// digitsFit reports whether an integer has no more digits than the limit.
func (p *parser) digitsFit(content []byte, minus bool) bool {
	for len(content) > 0 && content[0] == 0 {
		content = content[1:]
	}
	if len(content) == 0 {
		return true
	}
	n := 8*(len(content)-1) + bits.Len8(content[0])
	const log2 = 0.30102999566398119521
	switch {
	case float64(n)*log2+2 < float64(p.Lim.Digits):
		return true
	case float64(n-1)*log2 > float64(p.Lim.Digits)+1:
		return false
	default:
		v := bigInt(content, minus)
		return len(v.Abs(v).Append(nil, 10)) <= p.Lim.Digits
	}
}

func (p *parser) complex(args []arg) string {
	const problem = "a list of two numbers, the parts of a complex number"
	if len(args) != 2 {
		return problem
	}
	re, ok := args[0].number()
	im, fine := args[1].number()
	if !ok || !fine {
		return problem
	}
	if p.B != nil {
		p.B.Complex(complex(re, im))
	}
	return ""
}

// decimal builds a decimal fraction from its exponent and mantissa.
func (p *parser) decimal(args []arg) string {
	const problem = "a list of two integers, the exponent and mantissa of a decimal, in Python's range"
	if len(args) != 2 || args[1].kind != dict.KindInt {
		return problem
	}
	exp, ok := args[0].int()
	if !ok {
		return problem
	}
	mantissa := &args[1]
	switch {
	case mantissa.big != nil:
		if !p.digitsFit(mantissa.big, mantissa.minus) {
			return tooManyDigits
		}
		if p.B == nil && exp > -1<<59 && exp < 1<<59 {
			return "" // in range, whatever the digits
		}
		p.Text = bigInt(mantissa.big, mantissa.minus).Append(p.Text[:0], 10)
	case mantissa.n > p.MaxInt:
		return tooManyDigits
	case mantissa.minus && mantissa.n == math.MaxUint64:
		p.Text = append(p.Text[:0], "-18446744073709551616"...)
	case mantissa.minus:
		p.Text = strconv.AppendUint(append(p.Text[:0], '-'), mantissa.n+1, 10)
	default:
		p.Text = strconv.AppendUint(p.Text[:0], mantissa.n, 10)
	}
	digits := bytes.TrimPrefix(p.Text, []byte{'-'})
	if !p.addDecimal(mantissa.minus, digits, exp) {
		return problem
	}
	return ""
}

// addDecimal builds ±digits × 10^exp. digits may be in p.Text.
func (p *parser) addDecimal(minus bool, digits []byte, exp int64) bool {
	n := len(p.Text)
	text, err := dict.AppendDecimal(p.Text, minus, digits, exp)
	if err != nil {
		return false
	}
	p.Text = text
	if p.B != nil {
		p.B.OwnRef(dict.KindDecimal, append(p.B.Own(), text[n:]...))
	}
	return true
}

// decimalText builds a decimal from text that Python's str prints.
func (p *parser) decimalText(text []byte) string {
	const problem = "a decimal as Python's str prints it"
	rest := bytes.TrimPrefix(text, []byte{'-'})
	minus := len(rest) < len(text)
	if word := bytes.TrimRight(rest, "0123456789"); len(word) > 0 && word[0] > '9' {
		payload := rest[len(word):]
		switch string(word) {
		case "NaN", "sNaN":
			if len(payload) > p.Lim.Digits {
				return tooManyDigits
			}
			if len(payload) > 0 && payload[0] == '0' {
				return problem
			}
		case "Infinity":
			if len(payload) > 0 {
				return problem
			}
		default:
			return problem
		}
		if p.B != nil {
			p.B.OwnRef(dict.KindDecimal, append(p.B.Own(), text...))
		}
		return ""
	}
	var exp int64
	if i := bytes.IndexByte(rest, 'E'); i >= 0 {
		var ok bool
		if exp, ok = exponent(rest[i+1:]); !ok {
			return problem
		}
		rest = rest[:i]
	}
	p.Text = p.Text[:0]
	point := false
	for _, c := range rest {
		switch {
		case c-'0' <= 9:
			p.Text = append(p.Text, c)
			if point {
				exp--
			}
		case c == '.' && !point:
			point = true
		default:
			return problem
		}
	}
	switch {
	case len(p.Text) == 0:
		return problem
	case len(p.Text) > p.Lim.Digits:
		return tooManyDigits
	case !p.addDecimal(minus, p.Text, exp):
		return problem
	default:
		return ""
	}
}

// exponent reads a decimal's exponent, "+5".
func exponent(b []byte) (int64, bool) {
	if len(b) < 2 || len(b) > 20 || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	var v int64
	for _, c := range b[1:] {
		if c-'0' > 9 || v > math.MaxInt64/20 {
			return 0, false
		}
		v = 10*v + int64(c-'0')
	}
	if b[0] == '-' {
		v = -v
	}
	return v, true
}
