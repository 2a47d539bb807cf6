package dict

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
)

// hashable reports whether v can be a key or an item of a set. If not, because is the
// kind that prevents it.
func hashable(v Value) (because Kind, ok bool) {
	switch v.kind {
	case KindByteArray, KindList, KindSet, KindDict, KindOrderedDict:
		return v.kind, false
	case KindDecimal:
		return v.kind, !bytes.Contains(v.t.text(v.node), []byte("sNaN"))
	case KindTuple, KindTagged:
		c := v.children()
		for range v.node.children() {
			if because, ok := hashable(c.next()); !ok {
				return because, false
			}
		}
	default: // always
	}
	return 0, true
}

// Hashable returns nil if v can be a key or an item of a set, otherwise a *[HashError].
func Hashable(v Value) error {
	if because, ok := hashable(v); !ok {
		return &HashError{Kind: because}
	}
	return nil
}

// AppendKey appends bytes that are the same for two hashable values if and only if they
// are equal by Python's ==: 1, 1.0, True and Decimal(1) are, and "a" and b"a" are not. ok
// is false for a NaN, or a value that holds one, which equals nothing. It is for codecs,
// which look for duplicate keys.
//
// Datetimes in fixed zones are equal if they are the same instant. A datetime in a zone
// of the time zone database equals another if everything but the fold is the same, since
// the database is not consulted. In that, keys differ from Python's.
func AppendKey(dst []byte, v Value) (key []byte, ok bool) {
	switch v.kind {
	case KindNull:
		return append(dst, 'z'), true
	case KindBool:
		return appendIntKey(dst, int64(v.data)), true
	case KindInt:
		if v.flags&flagBig == 0 {
			return appendIntKey(dst, int64(v.data)), true
		}
		digits := v.t.text(v.node)
		negative := digits[0] == '-'
		if negative {
			digits = digits[1:]
		}
		return appendNumberKey(dst, negative, digits, 0), true
	case KindFloat:
		return appendFloatKey(dst, math.Float64frombits(v.data))
	case KindComplex:
		return appendComplexKey(dst, v)
	case KindDecimal:
		return appendDecimalKey(dst, v)
	case KindString, KindBytes, KindUUID:
		text := v.t.text(v.node)
		dst = append(dst, 's'+byte(v.kind-KindString))
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
		return append(dst, text...), true
	case KindDateTime, KindDate, KindTime, KindTimeDelta:
		return appendTimeKey(dst, v), true
	case KindFrozenSet:
		return appendSetKey(dst, v)
	default: // KindTuple, KindTagged
		dst = append(dst, '(', byte(v.kind), byte(v.space()))
		dst = binary.BigEndian.AppendUint32(dst, v.n)
		ok := true
		c := v.children()
		for range v.node.children() {
			var fine bool
			dst, fine = AppendKey(dst, c.next())
			ok = ok && fine
		}
		return dst, ok
	}
}

func appendIntKey(dst []byte, i int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 'i'), uint64(i))
}

func appendFloatKey(dst []byte, f float64) ([]byte, bool) {
	switch {
	case math.IsNaN(f):
		return append(dst, 'N'), false
	case f == math.Trunc(f) && f >= -1<<63 && f < 1<<63:
		return appendIntKey(dst, int64(f)), true
	case f != math.Trunc(f) || math.IsInf(f, 0):
		return binary.BigEndian.AppendUint64(append(dst, 'f'), math.Float64bits(f)), true
	default:
		negative, digits, exp := decimalOf(f)
		return appendNumberKey(dst, negative, digits, exp), true
	}
}

func appendComplexKey(dst []byte, v Value) ([]byte, bool) {
	c, _ := v.Complex()
	if imag(c) == 0 {
		return appendFloatKey(dst, real(c))
	}
	return appendComplex(append(dst, 'c'), c+0), real(c) == real(c) && imag(c) == imag(c) // +0: no -0.0
}

func appendDecimalKey(dst []byte, v Value) ([]byte, bool) {
	negative, digits, exp, finite := v.DecimalParts()
	if !finite {
		text := v.t.text(v.node)
		switch {
		case !bytes.HasSuffix(text, []byte("Infinity")):
			return append(dst, 'N'), false
		case negative:
			return appendFloatKey(dst, math.Inf(-1))
		default:
			return appendFloatKey(dst, math.Inf(1))
		}
	}
	digits, exp = normal(digits, exp)
	if exp < 0 && exp > -1100 && len(digits) < 1100 {
		// A decimal equal to a float has the float's key.
		f, _ := strconv.ParseFloat(string(digits)+"e"+strconv.FormatInt(exp, 10), 64)
		if _, d, e := decimalOf(f); !math.IsInf(f, 0) {
			if d, e = normal(d, e); e == exp && bytes.Equal(d, digits) {
				if negative {
					f = -f
				}
				return appendFloatKey(dst, f)
			}
		}
	}
	return appendNumberKey(dst, negative, digits, exp), true
}

// normal strips the zeros at the end of digits × 10^exp.
func normal(digits []byte, exp int64) ([]byte, int64) {
	for len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits, exp = digits[:len(digits)-1], exp+1
	}
	if len(digits) == 1 && digits[0] == '0' {
		exp = 0
	}
	return digits, exp
}

// appendNumberKey appends the key of ±digits × 10^exp, unless that is a float with a
// fraction.
func appendNumberKey(dst []byte, negative bool, digits []byte, exp int64) []byte {
	digits, exp = normal(digits, exp)
	if exp >= 0 && int64(len(digits))+exp <= 19 {
		var i uint64
		for _, c := range digits {
			i = i*10 + uint64(c-'0')
		}
		for range exp {
			i *= 10
		}
		if v, ok := signed(negative, i); ok {
			return appendIntKey(dst, v)
		}
	}
	sign := byte('+')
	if negative {
		sign = '-'
	}
	dst = binary.BigEndian.AppendUint64(append(dst, 'n', sign), uint64(exp))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(digits)))
	return append(dst, digits...)
}

// signed returns ±i, if that fits into an int64.
func signed(negative bool, i uint64) (int64, bool) {
	switch {
	case negative && i <= 1<<63:
		return -int64(i), true
	case !negative && i < 1<<63:
		return int64(i), true
	default:
		return 0, false
	}
}

func appendTimeKey(dst []byte, v Value) []byte {
	dst = append(dst, 'T', byte(v.kind))
	switch v.kind {
	case KindDate:
		return binary.BigEndian.AppendUint64(dst, v.data)
	case KindTimeDelta:
		dst = binary.BigEndian.AppendUint32(dst, v.n)
		return binary.BigEndian.AppendUint64(dst, v.data)
	default: // a datetime or a time
	}
	dst = binary.BigEndian.AppendUint16(dst, v.nanosecond())
	switch kind := uint8(v.data >> zoneShift & 3); kind {
	case zoneFixed, zoneNamed:
		dst = append(dst, zoneFixed)
		instant := v.clock().microseconds() - v.offset()
		if v.kind == KindDateTime {
			instant += v.date().days() * day
		}
		return binary.BigEndian.AppendUint64(dst, uint64(instant))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, kind), v.data&(1<<zoneShift-1))
		text := v.zoneText()
		text = text[min(nanoSize, len(text)):]
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
		return append(dst, text...)
	}
}

// appendSetKey appends the keys of a frozenset's items in sorted order.
func appendSetKey(dst []byte, v Value) ([]byte, bool) {
	ok := true
	keys := make([][]byte, 0, v.n)
	for item := range v.Items() {
		key, fine := AppendKey(nil, item)
		ok = ok && fine
		keys = append(keys, key)
	}
	slices.SortFunc(keys, bytes.Compare)
	dst = binary.BigEndian.AppendUint32(append(dst, '{'), v.n)
	for _, key := range keys {
		dst = append(dst, key...)
	}
	return dst, ok
}

// keyEqual is Python's == between two hashable values.
func keyEqual(a, b Value) bool {
	switch {
	case a.kind == KindString || b.kind == KindString:
		return a.kind == b.kind && string(a.t.text(a.node)) == string(b.t.text(b.node))
	case a.kind == KindInt && b.kind == KindInt && (a.flags|b.flags)&flagBig == 0:
		return a.data == b.data
	}
	x, ok := AppendKey(nil, a)
	if !ok {
		return false
	}
	y, ok := AppendKey(nil, b)
	return ok && bytes.Equal(x, y)
}
