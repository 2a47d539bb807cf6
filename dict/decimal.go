package dict

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// The exponents that Python's decimal can hold.
const (
	maxAdjusted = 999_999_999_999_999_999
	minExponent = -1_999_999_999_999_999_997
)

// Decimal parses a decimal: an optional sign and digits with an optional point and
// exponent, or "Infinity", "NaN" or "sNaN", the last two with optional digits, in any
// case. Trailing zeros and the exponent are significant: 1.0 and 1.00 are two values, but
// one key.
func Decimal(text string) (Value, error) {
	b, err := appendDecimal(nil, text)
	if err != nil {
		return Value{}, err
	}
	return textValue(b, node{mark: mark{kind: KindDecimal}}), nil
}

var errDecimal = errors.New("dict: not a decimal")

// appendDecimal appends Decimal(text) as Python's str prints it.
func appendDecimal(dst []byte, text string) ([]byte, error) {
	rest := text
	negative := strings.HasPrefix(rest, "-")
	if negative || strings.HasPrefix(rest, "+") {
		rest = rest[1:]
	}
	if word, digits := cutDigits(rest); word != "" && word[0] > '9' {
		if !allDigits(digits) {
			return dst, fmt.Errorf("%w: %.40q", errDecimal, text)
		}
		if negative {
			dst = append(dst, '-')
		}
		switch strings.ToLower(word) {
		case "nan":
			dst = append(dst, "NaN"...)
		case "snan":
			dst = append(dst, "sNaN"...)
		case "inf", "infinity":
			if digits == "" {
				return append(dst, "Infinity"...), nil
			}
			fallthrough
		default:
			return dst, fmt.Errorf("%w: %.40q", errDecimal, text)
		}
		return append(dst, strings.TrimLeft(digits, "0")...), nil
	}
	mantissa, exponent, scientific := rest, "", false
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa, exponent, scientific = rest[:i], rest[i+1:], true
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole == "" && fraction == "" || !allDigits(whole) || !allDigits(fraction) {
		return dst, fmt.Errorf("%w: %.40q", errDecimal, text)
	}
	var exp int64
	if scientific {
		var err error
		if exp, err = strconv.ParseInt(exponent, 10, 64); err != nil || exp < -1<<62 || exp > 1<<62 {
			return dst, fmt.Errorf("%w: %.40q", errDecimal, text)
		}
	}
	return AppendDecimal(dst, negative, []byte(whole+fraction), exp-int64(len(fraction)))
}

func cutDigits(s string) (word, digits string) {
	word = strings.TrimRight(s, "0123456789")
	return word, s[len(word):]
}

func allDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// DecimalFits reports whether Python can hold a decimal of n digits × 10^exp. It is for
// codecs.
func DecimalFits(n int, exp int64) bool {
	return exp >= minExponent && exp+int64(n)-1 <= maxAdjusted
}

// AppendDecimal appends digits × 10^exp as Python's str prints it, which is the content
// of a decimal in [Builder.Own]. digits are ASCII. It is for codecs.
func AppendDecimal(dst []byte, negative bool, digits []byte, exp int64) ([]byte, error) {
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	if !DecimalFits(len(digits), exp) {
		return dst, fmt.Errorf("%w: the exponent %d is out of Python's range", errDecimal, exp)
	}
	n := int64(len(digits))
	adjusted := exp + n - 1 // the exponent with one digit before the point
	if negative {
		dst = append(dst, '-')
	}
	switch point := n + exp; { // digits before the point
	case exp > 0 || adjusted < -6:
		dst = append(dst, digits[0])
		if n > 1 {
			dst = append(append(dst, '.'), digits[1:]...)
		}
		dst = append(dst, 'E')
		if adjusted >= 0 {
			dst = append(dst, '+')
		}
		return strconv.AppendInt(dst, adjusted, 10), nil
	case exp == 0:
		return append(dst, digits...), nil
	case point > 0:
		dst = append(dst, digits[:point]...)
		return append(append(dst, '.'), digits[point:]...), nil
	default:
		dst = append(dst, "0."...)
		for ; point < 0; point++ {
			dst = append(dst, '0')
		}
		return append(dst, digits...), nil
	}
}

// DecimalParts returns a finite decimal as ±digits × 10^exp, with ASCII digits without
// leading zeros. finite is false for infinities, NaNs, and all other kinds.
func (v Value) DecimalParts() (negative bool, digits []byte, exp int64, finite bool) {
	if v.kind != KindDecimal {
		return false, nil, 0, false
	}
	text := v.t.text(v.node)
	if text[0] == '-' {
		negative, text = true, text[1:]
	}
	if text[0] > '9' {
		return negative, nil, 0, false
	}
	point := false
	for i, c := range text {
		switch c {
		case 'E':
			e, _ := strconv.ParseInt(string(text[i+1:]), 10, 64) // canonical
			return negative, trimZeros(digits), exp + e, true
		case '.':
			point = true
		default:
			digits = append(digits, c)
			if point {
				exp--
			}
		}
	}
	return negative, trimZeros(digits), exp, true
}

func trimZeros(digits []byte) []byte {
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

// DecimalText returns a decimal as Python's str prints it, or "", false for any other
// kind.
func (v Value) DecimalText() (string, bool) {
	if v.kind != KindDecimal {
		return "", false
	}
	return string(v.t.text(v.node)), true
}

// decimalOf returns a finite float as ±digits × 10^exp, exactly.
func decimalOf(f float64) (negative bool, digits []byte, exp int64) {
	b := new(big.Float).SetFloat64(f)
	mantissa := new(big.Float)
	e := b.MantExp(mantissa)
	mantissa.SetMantExp(mantissa, 53)
	i, _ := mantissa.Int(nil)
	e -= 53
	switch {
	case e > 0:
		i.Lsh(i, uint(e))
	case e < 0: // m / 2^k = m × 5^k / 10^k
		i.Mul(i, new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(-e)), nil))
		exp = int64(e)
	}
	negative = i.Sign() < 0
	return negative, i.Abs(i).Append(nil, 10), exp
}
