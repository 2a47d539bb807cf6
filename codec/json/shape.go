package json

import "encoding/binary"

// A shape is the keys of a record in their order. The next record usually has the same:
// then it is enough to compare each key in its place, since those of a shape are all
// different.
type shape struct {
	keys   []shapeKey // the first ones
	n      int        // how many there are
	misses int        // records in a row that were of another shape

	seen  [maxShape]span // the first keys of the record in hand
	known int            // of them, those that are the shape's, and not in parser.keys
}

// A span is a range of bytes in the record.
type span struct{ from, size uint32 }

const (
	maxShape   = 16 // keys
	maxKey     = 15 // bytes of one of them
	manyMisses = 4
)

// A shapeKey is a key and the quote after it, in words.
type shapeKey struct {
	head uint64 // the first
	mask uint64 // of the bytes that head has
	tail uint64 // the last, if they are more than eight bytes
	size uint32 // in bytes, the quote included
}

// is reports whether k is at i, where buf has two words.
func (k *shapeKey) is(buf []byte, i int) bool {
	return binary.LittleEndian.Uint64(buf[i:])&k.mask == k.head &&
		(k.size <= 8 || binary.LittleEndian.Uint64(buf[i+int(k.size)-8:]) == k.tail)
}

// forget adds the known keys to f's, which they are not among.
func (p *parser) forget(buf []byte, f *frame) {
	for _, k := range p.shape.seen[:p.shape.known] {
		p.keys.Add(&f.keys, buf, int(k.from), int(k.from+k.size))
	}
	p.shape.known = 0
}

// learn counts the record of n keys that has ended. If many before it had another shape,
// too, its own shape is expected from now on.
func (p *parser) learn(buf []byte, n int) {
	s := &p.shape
	if n == s.n && s.known == len(s.keys) {
		s.misses = 0
		return
	}
	if s.misses++; s.misses < manyMisses {
		return
	}
	s.misses, s.n, s.keys = 0, n, s.keys[:0]
	for _, k := range s.seen[:min(n, maxShape)] {
		if k.size > maxKey {
			return
		}
		var words [maxKey + 1]byte
		size := copy(words[:], buf[k.from:k.from+k.size+1])
		key := shapeKey{head: binary.LittleEndian.Uint64(words[:]), mask: 1<<(8*uint(size)) - 1, size: uint32(size)}
		if size > 8 {
			key.tail = binary.LittleEndian.Uint64(words[size-8:])
		}
		s.keys = append(s.keys, key)
	}
}
