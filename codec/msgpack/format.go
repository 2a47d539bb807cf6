package msgpack

import (
	"encoding/binary"
	"math"
)

// The first bytes of the formats.
const (
	fixmap   = 0x80
	fixarray = 0x90
	fixstr   = 0xA0
	null     = 0xC0
	unused   = 0xC1
	no       = 0xC2
	yes      = 0xC3
	bin8     = 0xC4
	bin16    = 0xC5
	bin32    = 0xC6
	ext8     = 0xC7
	ext16    = 0xC8
	ext32    = 0xC9
	float32s = 0xCA
	float64s = 0xCB
	uint8s   = 0xCC
	uint16s  = 0xCD
	uint32s  = 0xCE
	uint64s  = 0xCF
	int8s    = 0xD0
	int16s   = 0xD1
	int32s   = 0xD2
	int64s   = 0xD3
	fixext1  = 0xD4
	fixext16 = 0xD8
	str8     = 0xD9
	str16    = 0xDA
	str32    = 0xDB
	array16  = 0xDC
	array32  = 0xDD
	map16    = 0xDE
	map32    = 0xDF
	negative = 0xE0
)

// width has the bytes of the number, or the length, after the first byte of the formats
// from null on.
var width = [32]uint8{
	bin8 - null: 1, bin16 - null: 2, bin32 - null: 4, ext8 - null: 1, ext16 - null: 2, ext32 - null: 4,
	float32s - null: 4, float64s - null: 8,
	uint8s - null: 1, uint16s - null: 2, uint32s - null: 4, uint64s - null: 8,
	int8s - null: 1, int16s - null: 2, int32s - null: 4, int64s - null: 8,
	str8 - null: 1, str16 - null: 2, str32 - null: 4, array16 - null: 2, array32 - null: 4, map16 - null: 2, map32 - null: 4,
}

// headSize returns the size of the format whose first byte is c without what its length
// counts.
func headSize(c byte) int {
	if c >= null && c < negative {
		return 1 + int(width[c-null])
	}
	return 1
}

// number returns the big-endian number that b is, of one of the widths.
func number(b []byte) uint64 {
	switch len(b) {
	case 0:
		return 0
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	default:
		return binary.BigEndian.Uint64(b)
	}
}

// A class is what a format is of.
type class uint8

const (
	ofNothing class = iota
	ofNull
	ofBool
	ofInt
	ofFloat
	ofStr
	ofBin
	ofExt
	ofArray
	ofMap
)

// classOf returns the class of the format whose first byte is c.
func classOf(c byte) class {
	switch {
	case c < fixmap, c >= negative, c >= uint8s && c <= int64s:
		return ofInt
	case c < fixarray, c >= map16:
		return ofMap
	case c < fixstr, c >= array16:
		return ofArray
	case c < null, c >= str8:
		return ofStr
	case c >= fixext1, c >= ext8 && c <= ext32:
		return ofExt
	case c >= float32s:
		return ofFloat
	case c >= bin8:
		return ofBin
	case c >= no:
		return ofBool
	case c == null:
		return ofNull
	default:
		return ofNothing
	}
}

// floatOf returns the float of the format c with those bits.
func floatOf(c byte, bits uint64) float64 {
	if c == float32s {
		return float64(math.Float32frombits(uint32(bits)))
	}
	return math.Float64frombits(bits)
}

// intOf returns the int of the format c with those bits. Of uint 64 it may be too large.
func intOf(c byte, bits uint64) int64 {
	switch {
	case c < fixmap, c >= negative:
		return int64(int8(c))
	case c >= int8s:
		shift := 64 - 8*uint(width[c-null])
		return int64(bits<<shift) >> shift
	default:
		return int64(bits)
	}
}

// magnitude returns the absolute value of the int of the format c with those bits.
func magnitude(c byte, bits uint64) uint64 {
	v := intOf(c, bits)
	if v < 0 && c != uint64s {
		v = -v
	}
	return uint64(v)
}
