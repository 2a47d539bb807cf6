package msgpack

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

// Append appends d in the shortest formats, keys in their order. See the package
// comment for what is a *[codec.LossError], and [codec.Codec].
func (c Codec) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	out, loss := c.appendValue(dst, d.Value(), false)
	if loss != nil {
		return dst, loss
	}
	return out, nil
}

// appendValue appends v. inKey says that it is part of a key.
func (c Codec) appendValue(dst []byte, v dict.Value, inKey bool) ([]byte, *codec.LossError) {
	switch v.Kind() {
	case dict.KindNull:
		return append(dst, null), nil
	case dict.KindBool:
		if b, _ := v.Bool(); b {
			return append(dst, yes), nil
		}
		return append(dst, no), nil
	case dict.KindInt:
		if out, ok := appendInt(dst, v); ok {
			return out, nil
		}
	case dict.KindFloat:
		f, _ := v.Float()
		return binary.BigEndian.AppendUint64(append(dst, float64s), math.Float64bits(f)), nil
	case dict.KindString:
		if !v.HasSurrogates() {
			text, _ := v.TextBytes()
			return append(appendStrHead(dst, len(text)), text...), nil
		}
	case dict.KindBytes:
		b, _ := v.Bytes()
		return append(appendHead(dst, bin8, len(b)), b...), nil
	case dict.KindDateTime:
		if t, _ := v.DateTime(); t.Zone == dict.UTC() && !t.Fold {
			return appendTimestamp(dst, t), nil
		}
	case dict.KindTagged:
		if out, ok := appendExtension(dst, v); ok {
			return out, nil
		}
	case dict.KindList:
		return c.appendItems(dst, v, inKey)
	case dict.KindTuple:
		if inKey {
			return c.appendItems(dst, v, inKey)
		}
	case dict.KindDict:
		return c.appendPairs(dst, v)
	default: // MessagePack has none
	}
	if c.Lossy {
		return c.appendValue(dst, substitute.Of(v), inKey)
	}
	return dst, substitute.Loss(name, v)
}

func (c Codec) appendItems(dst []byte, v dict.Value, inKey bool) ([]byte, *codec.LossError) {
	if n := v.Len(); n < 16 {
		dst = append(dst, fixarray|byte(n))
	} else {
		dst = appendHead(dst, array16-1, n)
	}
	i := 0
	for item := range v.Items() {
		var loss *codec.LossError
		if dst, loss = c.appendValue(dst, item, inKey); loss != nil {
			if !inKey {
				loss.Path = "/" + strconv.Itoa(i) + loss.Path
			}
			return dst, loss
		}
		i++
	}
	return dst, nil
}

func (c Codec) appendPairs(dst []byte, v dict.Value) ([]byte, *codec.LossError) {
	if n := v.Len(); n < 16 {
		dst = append(dst, fixmap|byte(n))
	} else {
		dst = appendHead(dst, map16-1, n)
	}
	var keys substitute.Keys
	lossy := c.Lossy && mayLose(v)
	for k, item := range v.Pairs() {
		begin := len(dst)
		var loss *codec.LossError
		if dst, loss = c.appendValue(dst, k, true); loss != nil {
			loss.Kind, loss.Key = k.Kind(), true
			return dst, loss
		}
		if lossy && keys.Twice(readKey(dst[begin:])) {
			return dst, substitute.SameKeys(name, k)
		}
		if dst, loss = c.appendValue(dst, item, false); loss != nil {
			loss.Path = "/" + substitute.KeyText(k) + loss.Path
			return dst, loss
		}
	}
	return dst, nil
}

// mayLose reports whether v has a key that MessagePack may not be able to represent.
func mayLose(v dict.Value) bool {
	for k := range v.Pairs() {
		switch k.Kind() {
		case dict.KindNull, dict.KindBool, dict.KindFloat, dict.KindBytes:
		case dict.KindString:
			if k.HasSurrogates() {
				return true
			}
		case dict.KindInt:
			if _, ok := k.Int(); !ok {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// readKey returns what a key that has been written is read as.
func readKey(written []byte) dict.Value {
	d, _ := Codec{}.Decode(format{}.Pair(written), codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1})
	for k := range d.All() {
		return k
	}
	return dict.Null() // never: it has been written
}

// appendHead appends the head of a body of n bytes or items: first is the format with a
// length of 8 bits, whether it exists or not; those of 16 and 32 bits follow it.
func appendHead(dst []byte, first byte, n int) []byte {
	switch {
	case n <= math.MaxUint8 && first != array16-1 && first != map16-1:
		return append(dst, first, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first+1), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(dst, first+2), uint32(n))
	}
}

func appendStrHead(dst []byte, n int) []byte {
	if n < 32 {
		return append(dst, fixstr|byte(n))
	}
	return appendHead(dst, str8, n)
}

// appendInt appends an int of at most 64 bits.
func appendInt(dst []byte, v dict.Value) ([]byte, bool) {
	n, ok := v.Int()
	switch {
	case !ok:
		b, _ := v.BigInt()
		if !b.IsUint64() {
			return dst, false
		}
		return binary.BigEndian.AppendUint64(append(dst, uint64s), b.Uint64()), true
	case n >= -32 && n < 128:
		return append(dst, byte(n)), true
	case n >= 0:
		return appendUint(dst, uint64(n)), true
	case n >= math.MinInt8:
		return append(dst, int8s, byte(n)), true
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, int16s), uint16(n)), true
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, int32s), uint32(n)), true
	default:
		return binary.BigEndian.AppendUint64(append(dst, int64s), uint64(n)), true
	}
}

func appendUint(dst []byte, n uint64) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, uint8s, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, uint16s), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, uint32s), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, uint64s), n)
	}
}

// appendExtension appends a MessagePack extension that comes back as one.
func appendExtension(dst []byte, v dict.Value) ([]byte, bool) {
	space, tag, value, _ := v.Tagged()
	code, isInt := tag.Int()
	data, isBytes := value.Bytes()
	if space != dict.MessagePackExt || !isInt || !isBytes || code < math.MinInt8 || code > math.MaxInt8 {
		return dst, false
	}
	if _, isTime := timestamp(data); isTime && code == timestampCode {
		return dst, false
	}
	switch len(data) {
	case 1:
		dst = append(dst, fixext1)
	case 2:
		dst = append(dst, fixext1+1)
	case 4:
		dst = append(dst, fixext1+2)
	case 8:
		dst = append(dst, fixext1+3)
	case 16:
		dst = append(dst, fixext16)
	default:
		dst = appendHead(dst, ext8, len(data))
	}
	return append(append(dst, byte(code)), data...), true
}
