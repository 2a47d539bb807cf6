package shape

import "encoding/binary"

// A Part is bytes between two scalars, in words.
type Part struct {
	head uint64 // the first
	mask uint64 // of the bytes that head has
	mid  uint64 // the second, if there are more than sixteen bytes
	tail uint64 // the last, if there are more than eight bytes

	Size uint8 // in bytes

	// Key and KeySize say which of the bytes are the text of a flat record's key.
	Key, KeySize uint8
}

const maxPart = 24 // bytes

// Least is how many bytes a buffer must have for [Word].
const Least = 8

// Word returns the eight bytes at i of buf, little-endian, with zeros for those beyond its
// end.
func Word(buf []byte, i int) uint64 {
	if i+8 <= len(buf) {
		return binary.LittleEndian.Uint64(buf[i:])
	}
	return binary.LittleEndian.Uint64(buf[len(buf)-8:]) >> (8 * uint(i+8-len(buf)))
}

// Begins reports whether a word, as [Word] returns it, begins with p, or p with it.
func (p *Part) Begins(word uint64) bool { return word&p.mask == p.head }

// Ends reports whether p is at i of buf, if it has begun there. The next byte then follows at
// i + Size, which may be the end of buf.
func (p *Part) Ends(buf []byte, i int) bool {
	end := i + int(p.Size)
	return end <= len(buf) && (p.Size <= 8 ||
		binary.LittleEndian.Uint64(buf[end-8:]) == p.tail && (p.Size <= 16 || binary.LittleEndian.Uint64(buf[i+8:]) == p.mid))
}

func newPart(text []byte) Part {
	var words [maxPart]byte
	n := copy(words[:], text)
	p := Part{Size: uint8(n), head: binary.LittleEndian.Uint64(words[:]), mask: 1<<(8*uint(n)) - 1}
	if n > 8 {
		p.tail = binary.LittleEndian.Uint64(words[n-8:])
	}
	if n > 16 {
		p.mid = binary.LittleEndian.Uint64(words[8:])
	}
	return p
}
