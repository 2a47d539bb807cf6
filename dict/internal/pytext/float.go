package pytext

import (
	"bytes"
	"math"
	"strconv"
)

// AppendFloat appends what repr returns for a float: the shortest digits that
// are read back as f, without an exponent if 1e-4 <= |f| < 1e16, and with ".0"
// where they would otherwise look like an int; "inf", "-inf" and "nan".
func AppendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) {
		return append(dst, "nan"...) // without the sign that it may have
	}
	if math.Signbit(f) {
		dst = append(dst, '-')
		f = -f
	}
	switch {
	case f >= 1e-4 && f < 4.5e9 || f == 0:
		// Below 4.5e9, floats are less than 1e-6 apart. So if a multiple of 1e-6 is read
		// back as f, then no other one is, nor any number with as few digits or fewer. The
		// division is exact where it matters: its operands are exact and it rounds once, as
		// a reader of digits does.
		if i := uint64(f*1e6 + 0.5); float64(i)/1e6 == f {
			dst = strconv.AppendUint(dst, i/1e6, 10)
			return appendMillionths(dst, uint32(i%1e6))
		}
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	case f >= 4.5e9 && f < 1e16:
		if i := uint64(f); float64(i) == f {
			return append(strconv.AppendUint(dst, i, 10), ".0"...)
		}
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	case f > math.MaxFloat64:
		return append(dst, "inf"...)
	default:
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
}

// appendMillionths appends a point and the digits of n / 1e6, at least one.
func appendMillionths(dst []byte, n uint32) []byte {
	if n == 0 {
		return append(dst, ".0"...)
	}
	var b [7]byte
	b[0] = '.'
	for i := 6; i > 0; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
	end := len(b)
	for b[end-1] == '0' {
		end--
	}
	return append(dst, b[:end]...)
}

// AppendComplex appends what repr returns for a complex number: its parts have
// no ".0".
func AppendComplex(dst []byte, c complex128) []byte {
	if re := real(c); re == 0 && !math.Signbit(re) {
		return append(appendPart(dst, imag(c)), 'j')
	}
	dst = appendPart(append(dst, '('), real(c))
	if im := imag(c); !math.Signbit(im) || math.IsNaN(im) {
		dst = append(dst, '+')
	}
	return append(appendPart(dst, imag(c)), "j)"...)
}

func appendPart(dst []byte, f float64) []byte {
	return bytes.TrimSuffix(AppendFloat(dst, f), []byte(".0"))
}
