package cbor

import (
	"encoding/binary"
	"math"

	"github.com/dictwire/dictwire/codec/internal/walk"
)

// The major types.
const (
	unsigned = iota
	negative
	byteString
	textString
	array
	mapping
	tag
	simple
)

const (
	indefinite = 31   // additional information: no length
	brk        = 0xFF // the end of what has none
)

// argument reads the head at i. It returns where the head ends, incomplete or failed, and
// its argument. For an indefinite length, that is the largest number.
func (p *parser) argument(buf []byte, i int) (k int, arg uint64) {
	k, arg, ok := readHead(buf, i)
	switch {
	case !ok:
		return p.Unexpected(buf, i, "an item"), 0
	case k > len(buf):
		return p.Stop(buf, i, k), 0
	default:
		return k, arg
	}
}

// argumentOf is argument for the head at k, where what can't be stopped within begins
// at i.
func (p *parser) argumentOf(buf []byte, i, k int) (end int, arg uint64) {
	if end, arg = p.argument(buf, k); end == walk.Incomplete {
		p.Pos = i
	}
	return end, arg
}

// readHead returns where the head that begins at i ends, perhaps beyond buf, and its
// argument. ok is false where the first byte begins none.
func readHead(buf []byte, i int) (k int, arg uint64, ok bool) {
	info := buf[i] & 31
	k = i + 1
	switch {
	case info < 24:
		return k, uint64(info), true
	case info == indefinite:
		major := buf[i] >> 5
		return k, math.MaxUint64, major >= byteString && major != tag
	case info > 27:
		return k, 0, false
	}
	size := 1 << (info - 24)
	if k+size > len(buf) {
		return k + size, 0, true
	}
	switch b := buf[k:]; info {
	case 24:
		arg = uint64(b[0])
	case 25:
		arg = uint64(binary.BigEndian.Uint16(b))
	case 26:
		arg = uint64(binary.BigEndian.Uint32(b))
	default:
		arg = binary.BigEndian.Uint64(b)
	}
	return k + size, arg, true
}
