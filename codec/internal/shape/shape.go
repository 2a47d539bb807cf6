// Package shape recognizes records that differ from an earlier one in their values alone, for
// codecs.
package shape

import (
	"encoding/binary"
	"unsafe"
)

// A Shape is a record without its values: the bytes before each of them, and after the last,
// if there are any. The next record usually has the same. Then its keys need not be checked,
// since those of a good record have been: they are different, and good text. The zero Shape
// is none.
type Shape struct {
	Parts  []Part
	misses int // records in a row that were of another shape
}

const (
	maxParts   = 17
	maxPart    = 24 // bytes
	manyMisses = 4
)

// A Part is bytes between two values, in words.
type Part struct {
	Size int
	head uint64 // the first
	mask uint64 // of the bytes that head has
	mid  uint64 // the second, if there are more than sixteen bytes
	tail uint64 // the last, if there are more than eight bytes
}

// Least is how many bytes a buffer has at least for [Part.Is] and [Word].
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
// i + p.Size, which may be the end of buf.
func (p *Part) Ends(buf []byte, i int) bool {
	end := i + p.Size
	return end <= len(buf) && (p.Size <= 8 ||
		binary.LittleEndian.Uint64(buf[end-8:]) == p.tail && (p.Size <= 16 || binary.LittleEndian.Uint64(buf[i+8:]) == p.mid))
}

// Hit notes that a record was of the shape.
func (s *Shape) Hit() { s.misses = 0 }

// Miss counts a good record that was of another shape. It reports whether there have been so
// many in a row that its own shape is expected from now on: then s is none, and wants its
// parts.
func (s *Shape) Miss() bool {
	if s.misses++; s.misses < manyMisses {
		return false
	}
	s.misses, s.Parts = 0, s.Parts[:0]
	return true
}

// Add adds a part. It reports whether a shape can have so many of such a size; otherwise s is
// none.
func (s *Shape) Add(part []byte) bool {
	if len(part) > maxPart || len(s.Parts) == maxParts {
		s.Parts = s.Parts[:0]
		return false
	}
	var words [maxPart]byte
	n := copy(words[:], part)
	p := Part{Size: n, head: binary.LittleEndian.Uint64(words[:]), mask: 1<<(8*uint(n)) - 1}
	if n > 8 {
		p.tail = binary.LittleEndian.Uint64(words[n-8:])
	}
	if n > 16 {
		p.mid = binary.LittleEndian.Uint64(words[8:])
	}
	s.Parts = append(s.Parts, p)
	return true
}

// Scratch returns the bytes of memory that s uses.
func (s *Shape) Scratch() int { return int(unsafe.Sizeof(Part{})) * cap(s.Parts) }
