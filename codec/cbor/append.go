package cbor

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// Append appends d in preferred serialization: see the package comment. The only
// *[codec.LossError] is that of a tagged value that would come back as another
// kind, such as tag 37, which is a UUID here. See [codec.Codec].
func (Codec) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	out := dst
	if d.Kind() == dict.KindOrderedDict {
		out = appendHead(out, tag, selfDescribed)
	}
	out, loss := appendValue(out, d.Value(), false)
	if loss != nil {
		return dst, loss
	}
	return out, nil
}

// appendValue appends v. inKey says that it is part of a key, or of a set's item.
func appendValue(dst []byte, v dict.Value, inKey bool) ([]byte, *codec.LossError) {
	switch v.Kind() {
	case dict.KindNull:
		return append(dst, simple<<5|simpleNull), nil
	case dict.KindBool:
		if b, _ := v.Bool(); b {
			return append(dst, simple<<5|simpleTrue), nil
		}
		return append(dst, simple<<5|simpleFalse), nil
	case dict.KindInt:
		return appendInt(dst, v), nil
	case dict.KindFloat:
		f, _ := v.Float()
		return appendFloat(dst, f), nil
	case dict.KindComplex:
		c, _ := v.Complex()
		dst = appendHead(appendHead(dst, tag, tagComplex), array, 2)
		return appendFloat(appendFloat(dst, real(c)), imag(c)), nil
	case dict.KindDecimal:
		return appendDecimal(dst, v), nil
	case dict.KindString:
		return appendText(dst, v), nil
	case dict.KindBytes:
		b, _ := v.Bytes()
		return appendString(dst, byteString, b), nil
	case dict.KindByteArray:
		b, _ := v.Bytes()
		return appendString(appendObject(dst, objByteArray, 1), byteString, b), nil
	case dict.KindUUID:
		u, _ := v.UUID()
		return appendString(appendHead(dst, tag, tagUUID), byteString, u[:]), nil
	case dict.KindDateTime:
		return appendDateTime(dst, v), nil
	case dict.KindDate:
		d, _ := v.Date()
		text := appendDate(make([]byte, 0, 16), d)
		return appendString(appendHead(dst, tag, tagDate), textString, text), nil
	case dict.KindTime:
		t, _ := v.TimeOfDay()
		return appendClockObject(dst, objTime, appendClock(make([]byte, 0, 16), t), t), nil
	case dict.KindTimeDelta:
		t, _ := v.TimeDelta()
		return appendTimeDelta(dst, t), nil
	case dict.KindList:
		return appendItems(dst, v, inKey)
	case dict.KindTuple:
		if !inKey {
			dst = appendObject(dst, objTuple, 1)
		}
		return appendItems(dst, v, inKey)
	case dict.KindSet:
		return appendItems(appendHead(dst, tag, tagSet), v, true)
	case dict.KindFrozenSet:
		if inKey {
			dst = appendHead(dst, tag, tagSet)
		} else {
			dst = appendObject(dst, objFrozenSet, 1)
		}
		return appendItems(dst, v, true)
	case dict.KindDict:
		return appendPairs(dst, v)
	case dict.KindOrderedDict:
		return appendPairs(appendObject(dst, objOrderedDict, 1), v)
	default: // KindTagged
		return appendTagged(dst, v, inKey)
	}
}

func appendText(dst []byte, v dict.Value) []byte {
	text, _ := v.TextBytes()
	switch {
	case v.HasSurrogatePairs():
		return appendString(appendObject(dst, objStr, 1), byteString, text)
	case v.HasSurrogates():
		return appendString(appendHead(dst, tag, tagWTF8), byteString, text)
	default:
		return appendString(dst, textString, text)
	}
}

// appendHead appends the shortest head.
func appendHead(dst []byte, major byte, arg uint64) []byte {
	m := major << 5
	switch {
	case arg < 24:
		return append(dst, m|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, m|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, m|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, m|26), uint32(arg))
	default:
		return binary.BigEndian.AppendUint64(append(dst, m|27), arg)
	}
}

func appendString(dst []byte, major byte, content []byte) []byte {
	return append(appendHead(dst, major, uint64(len(content))), content...)
}

// appendObject appends the beginning of a generic object with n arguments.
func appendObject(dst []byte, name string, n int) []byte {
	dst = appendHead(appendHead(dst, tag, tagObject), array, uint64(n+1))
	return append(appendHead(dst, textString, uint64(len(name))), name...)
}

func appendItems(dst []byte, v dict.Value, inKey bool) ([]byte, *codec.LossError) {
	dst = appendHead(dst, array, uint64(v.Len()))
	i := 0
	for item := range v.Items() {
		var loss *codec.LossError
		if dst, loss = appendValue(dst, item, inKey); loss != nil {
			loss.Path = "/" + strconv.Itoa(i) + loss.Path
			return dst, loss
		}
		i++
	}
	return dst, nil
}

func appendPairs(dst []byte, v dict.Value) ([]byte, *codec.LossError) {
	dst = appendHead(dst, mapping, uint64(v.Len()))
	for k, item := range v.Pairs() {
		var loss *codec.LossError
		if dst, loss = appendValue(dst, k, true); loss != nil {
			loss.Path, loss.Key = "", true
			return dst, loss
		}
		if dst, loss = appendValue(dst, item, false); loss != nil {
			text, ok := k.TextBytes()
			if !ok {
				text = []byte(k.String())
			}
			loss.Path = "/" + string(text) + loss.Path
			return dst, loss
		}
	}
	return dst, nil
}

func appendInt(dst []byte, v dict.Value) []byte {
	if i, ok := v.Int(); ok {
		return appendInt64(dst, i)
	}
	i, _ := v.BigInt()
	return appendBig(dst, i)
}

func appendInt64(dst []byte, i int64) []byte {
	if i < 0 {
		return appendHead(dst, negative, uint64(-1-i))
	}
	return appendHead(dst, unsigned, uint64(i))
}

// appendBig appends i, which it changes.
func appendBig(dst []byte, i *big.Int) []byte {
	major, number := byte(unsigned), uint64(tagBignum)
	if i.Sign() < 0 {
		i.Not(i)
		major, number = negative, tagNegBignum
	}
	if i.IsUint64() {
		return appendHead(dst, major, i.Uint64())
	}
	return appendString(appendHead(dst, tag, number), byteString, i.Bytes())
}

// appendFloat appends the shortest float that represents f exactly.
func appendFloat(dst []byte, f float64) []byte {
	single := float32(f)
	switch h, ok := toHalf(f); {
	case ok:
		return binary.BigEndian.AppendUint16(append(dst, simple<<5|25), h)
	case float64(single) == f:
		return binary.BigEndian.AppendUint32(append(dst, simple<<5|26), math.Float32bits(single))
	default:
		return binary.BigEndian.AppendUint64(append(dst, simple<<5|27), math.Float64bits(f))
	}
}

// toHalf returns the binary16 that f is exactly, if there is one. All NaNs are one.
func toHalf(f float64) (h uint16, ok bool) {
	const fractionBits = 52
	b := math.Float64bits(f)
	sign := uint16(b >> 48 & 0x8000)
	exp := int(b>>fractionBits&0x7FF) - 1023
	fraction := b & (1<<fractionBits - 1)
	switch {
	case f != f:
		return 0x7E00, true
	case exp == 1024: // infinite
		return sign | 0x7C00, true
	case f == 0:
		return sign, true
	case exp > 15 || exp < -24:
		return 0, false
	case exp >= -14:
		return sign | uint16(exp+15)<<10 | uint16(fraction>>42), fraction&(1<<42-1) == 0
	default: // subnormal
		fraction |= 1 << fractionBits
		drop := 28 - exp // the bits below 2^-24
		return sign | uint16(fraction>>drop), bits.TrailingZeros64(fraction) >= drop
	}
}

func appendDecimal(dst []byte, v dict.Value) []byte {
	minus, digits, exp, finite := v.DecimalParts()
	if !finite || minus && string(digits) == "0" {
		text, _ := v.DecimalText()
		return appendString(appendObject(dst, objDecimal, 1), textString, []byte(text))
	}
	dst = appendInt64(appendHead(appendHead(dst, tag, tagDecimal), array, 2), exp)
	mantissa, _ := new(big.Int).SetString(string(digits), 10)
	if minus {
		mantissa.Neg(mantissa)
	}
	return appendBig(dst, mantissa)
}

func appendDateTime(dst []byte, v dict.Value) []byte {
	t, _ := v.DateTime()
	text := appendDate(make([]byte, 0, 32), t.Date)
	text = appendClock(append(text, 'T'), t.TimeOfDay)
	offset, fixed := t.Zone.Offset()
	if _, named := t.Zone.Name(); !fixed || named || t.Fold || offset%time.Minute != 0 {
		return appendClockObject(dst, objDateTime, text, t.TimeOfDay)
	}
	if offset == 0 {
		text = append(text, 'Z')
	} else {
		sign := byte('+')
		if offset < 0 {
			sign, offset = '-', -offset
		}
		text = appendPadded(append(text, sign), int(offset/time.Hour), 2)
		text = appendPadded(append(text, ':'), int(offset/time.Minute%60), 2)
	}
	return appendString(appendHead(dst, tag, tagDateTime), textString, text)
}

// appendClockObject appends a datetime or time as a generic object of the given
// text.
func appendClockObject(dst []byte, name string, text []byte, t dict.TimeOfDay) []byte {
	key, hasKey := t.Zone.Key()
	zone, hasName := t.Zone.Name()
	offset, fixed := t.Zone.Offset()
	n := 1
	switch {
	case hasName:
		n = 4
	case !t.Zone.IsNaive():
		n = 3
	case t.Fold:
		n = 2
	}
	dst = appendString(appendObject(dst, name, n), textString, text)
	if n > 1 {
		fold := byte(0)
		if t.Fold {
			fold = 1
		}
		dst = append(dst, fold)
	}
	if fixed {
		dst = appendInt64(dst, offset.Microseconds())
	}
	if hasKey {
		zone = key
	}
	if hasKey || hasName {
		return appendText(dst, dict.String(zone))
	}
	return dst
}

func appendDate(dst []byte, d dict.Date) []byte {
	dst = append(appendPadded(dst, d.Year, 4), '-')
	return appendPadded(append(appendPadded(dst, d.Month, 2), '-'), d.Day, 2)
}

func appendClock(dst []byte, t dict.TimeOfDay) []byte {
	dst = append(appendPadded(dst, t.Hour, 2), ':')
	dst = appendPadded(append(appendPadded(dst, t.Minute, 2), ':'), t.Second, 2)
	switch {
	case t.Nanosecond != 0:
		return appendPadded(appendPadded(append(dst, '.'), t.Microsecond, 6), t.Nanosecond, 3)
	case t.Microsecond != 0:
		return appendPadded(append(dst, '.'), t.Microsecond, 6)
	default:
		return dst
	}
}

// appendPadded appends n in at least the given number of digits.
func appendPadded(dst []byte, n, digits int) []byte {
	for limit := 10; digits > 1; digits-- {
		if n < limit {
			dst = append(dst, "00000"[:digits-1]...)
			break
		}
		limit *= 10
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

func appendTimeDelta(dst []byte, t dict.TimeDelta) []byte {
	if t.Days < 0 {
		n := 3
		if t.Nanoseconds != 0 {
			n = 4
		}
		dst = appendObject(dst, objTimeDelta, n)
		dst = appendInt64(appendInt64(appendInt64(dst, int64(t.Days)), int64(t.Seconds)), int64(t.Microseconds))
		if n == 4 {
			dst = appendInt64(dst, int64(t.Nanoseconds))
		}
		return dst
	}
	unit, fraction := int64(-6), int64(t.Microseconds)
	if t.Nanoseconds != 0 {
		unit, fraction = -9, 1000*fraction+int64(t.Nanoseconds)
	}
	n := uint64(1)
	if fraction != 0 {
		n = 2
	}
	dst = appendHead(appendHead(dst, tag, tagDuration), mapping, n)
	dst = appendInt64(appendInt64(dst, 1), int64(t.Days)*86_400+int64(t.Seconds))
	if n == 2 {
		dst = appendInt64(appendInt64(dst, unit), fraction)
	}
	return dst
}

func appendTagged(dst []byte, v dict.Value, inKey bool) ([]byte, *codec.LossError) {
	space, number, value, _ := v.Tagged()
	loss := &codec.LossError{Codec: name, Kind: dict.KindTagged}
	i, ok := number.BigInt()
	if !ok {
		loss.Hint = "the tag must be an integer"
		return dst, loss
	}
	n, small := number.Int()
	switch space {
	case dict.CBORTag:
		switch {
		case !i.IsUint64():
			loss.Hint = "the tag must be of 64 bits"
			return dst, loss
		case n == tagDateTime && isBeyondDateTime(value): // no datetime is that
		case hasKind(i.Uint64()) || n == tagObject && hasObjectName(value):
			loss.Hint = "tag " + i.String() + " stands for another kind: make it a value of that"
			return dst, loss
		}
		return appendValue(appendHead(dst, tag, i.Uint64()), value, inKey)
	case dict.CBORSimple:
		if !small || n < 0 || n > math.MaxUint8 || n >= simpleFalse && n != dict.CBORUndefined && n < 32 || !value.IsNull() {
			loss.Hint = "a simple value is 0 to 19, 23 or 32 to 255, and on null"
			return dst, loss
		}
		return appendHead(dst, simple, uint64(n)), nil
	case dict.MessagePackExt:
		b, ok := value.Bytes()
		if !ok || value.Kind() != dict.KindBytes || !small || n < math.MinInt8 || n > math.MaxInt8 {
			loss.Hint = "an extension is -128 to 127, on bytes"
			return dst, loss
		}
		dst = appendInt64(appendObject(dst, objExtType, 2), n)
		return appendString(dst, byteString, b), nil
	default:
		return dst, loss
	}
}

// isBeyondDateTime reports whether tag 0 with v would be read back unchanged.
func isBeyondDateTime(v dict.Value) bool {
	text, ok := v.TextBytes()
	if !ok {
		return false
	}
	_, beyond, ok := readDateTime(text)
	return beyond && ok
}

// hasObjectName reports whether tag 27 with v would be one of Objects.
func hasObjectName(v dict.Value) bool {
	for item := range v.Items() {
		text, ok := item.TextBytes()
		return ok && (v.Kind() == dict.KindList || v.Kind() == dict.KindTuple) && !item.HasSurrogates() && isObject(text)
	}
	return false
}
