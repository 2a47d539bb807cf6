package json

import (
	"encoding/binary"
	"hash/maphash"
)

// A keySet holds the keys of all open dictionaries of a record, to find those
// that come twice. Keys are compared as they decode: "a" is "\u0061".
//
// A dictionary of few keys compares each new one with those before it that
// could be equal, told by 6 bits of a hash that costs next to nothing. From
// manyKeys on it has a hash table over a seeded hash, so that nobody can choose
// keys that collide.
type keySet struct {
	keys  []keyRef
	slots []uint32 // the tables of the dictionaries with many keys, one behind the other
	text  []byte   // keys that held escapes, decoded
}

// A keyRef is one key: where its text is, and its hash.
type keyRef struct {
	hash uint64
	off  uint32
	size uint32 // inText is set where the text is in keySet.text, not in the record
}

const (
	inText   = 1 << 31
	manyKeys = 32
)

// A keyFrame is one dictionary's part of a keySet.
type keyFrame struct {
	keys  uint32 // its first in keySet.keys
	text  uint32 // its first byte in keySet.text
	slots uint32 // its first in keySet.slots, if it has many keys
	many  bool
	seen  uint64 // the bits of few keys
}

var seed = maphash.MakeSeed()

func (s *keySet) reset() { s.keys, s.slots, s.text = s.keys[:0], s.slots[:0], s.text[:0] }

func (s *keySet) scratch() int { return 16*cap(s.keys) + 4*cap(s.slots) + cap(s.text) }

// open begins a container within those that are open.
func (s *keySet) open(f *keyFrame) {
	f.keys, f.text, f.slots = uint32(len(s.keys)), uint32(len(s.text)), uint32(len(s.slots))
	f.many, f.seen = false, 0
}

// close forgets the keys of f, which is the innermost dictionary.
func (s *keySet) close(f *keyFrame) {
	s.keys, s.text, s.slots = s.keys[:f.keys], s.text[:f.text], s.slots[:f.slots]
}

// add adds the key record[from:to] to the innermost dictionary f and reports
// whether it was there.
func (s *keySet) add(f *keyFrame, record []byte, from, to int, escape bool) bool {
	k := keyRef{off: uint32(from), size: uint32(to - from)}
	text := record[from:to]
	if escape {
		at := len(s.text)
		s.text, _ = unescape(s.text, text)
		text = s.text[at:]
		k = keyRef{off: uint32(at), size: uint32(len(text)) | inText}
	}
	if !f.many {
		k.hash = quickHash(text)
		bit := uint64(1) << (k.hash >> 58)
		if f.seen&bit != 0 {
			for _, o := range s.keys[f.keys:] {
				if o.hash == k.hash && string(s.textOf(o, record)) == string(text) {
					return true
				}
			}
		}
		f.seen |= bit
		s.keys = append(s.keys, k)
		if len(s.keys)-int(f.keys) == manyKeys {
			s.toTable(f, record)
		}
		return false
	}
	k.hash = maphash.Bytes(seed, text)
	if s.lookup(f, k, text, record) {
		return true
	}
	s.keys = append(s.keys, k)
	n := len(s.keys) - int(f.keys)
	if 2*n > len(s.slots)-int(f.slots) {
		s.grow(f)
	} else {
		s.insert(f, n)
	}
	return false
}

// addPlain is add for a key without escapes, behind whose beginning record has a
// word. It returns false, and has done nothing, unless it is sure that the key is
// new.
func (s *keySet) addPlain(f *keyFrame, record []byte, from, to int) bool {
	size := to - from
	w := binary.LittleEndian.Uint64(record[from:]) & (1<<(8*uint(size)) - 1)
	hash := mix(w, record[to-1], size)
	bit := uint64(1) << (hash >> 58)
	if f.seen&bit != 0 || f.many || len(s.keys)-int(f.keys) == manyKeys-1 {
		return false
	}
	f.seen |= bit
	s.keys = append(s.keys, keyRef{hash: hash, off: uint32(from), size: uint32(size)})
	return true
}

func (s *keySet) textOf(k keyRef, record []byte) []byte {
	if k.size&inText != 0 {
		return s.text[k.off : k.off+k.size&^inText]
	}
	return record[k.off : k.off+k.size]
}

// quickHash is good enough to tell a few keys apart: it looks at the first eight
// bytes, the last one and the size.
func quickHash(b []byte) uint64 {
	if len(b) >= 8 {
		return mix(binary.LittleEndian.Uint64(b), b[len(b)-1], len(b))
	}
	var w uint64
	last := byte('"') // what stands before an empty key
	for i, c := range b {
		w |= uint64(c) << (8 * i)
		last = c
	}
	return mix(w, last, len(b))
}

func mix(w uint64, last byte, size int) uint64 {
	const multiplier = 0x9E3779B97F4A7C15
	return (w ^ uint64(last)<<32 + uint64(size)) * multiplier
}

// toTable gives f a table.
func (s *keySet) toTable(f *keyFrame, record []byte) {
	f.many = true
	own := s.keys[f.keys:]
	for i := range own {
		own[i].hash = maphash.Bytes(seed, s.textOf(own[i], record))
	}
	s.grow(f)
}

// grow makes f's table, which is the last one, large enough for twice the keys
// it has.
func (s *keySet) grow(f *keyFrame) {
	n := len(s.keys) - int(f.keys)
	size := 4 * manyKeys
	for size < 4*n {
		size *= 2
	}
	s.slots = s.slots[:f.slots]
	if cap(s.slots)-len(s.slots) < size {
		s.slots = append(make([]uint32, 0, len(s.slots)+size), s.slots...)
	}
	s.slots = s.slots[:int(f.slots)+size]
	clear(s.slots[f.slots:])
	for i := 1; i <= n; i++ {
		s.insert(f, i)
	}
}

// insert puts key number n, counted from 1, of f into f's table.
func (s *keySet) insert(f *keyFrame, n int) {
	table := s.slots[f.slots:]
	mask := uint64(len(table) - 1)
	i := s.keys[int(f.keys)+n-1].hash & mask
	for table[i] != 0 {
		i = (i + 1) & mask
	}
	table[i] = uint32(n)
}

func (s *keySet) lookup(f *keyFrame, k keyRef, text, record []byte) bool {
	table := s.slots[f.slots:]
	mask := uint64(len(table) - 1)
	for i := k.hash & mask; table[i] != 0; i = (i + 1) & mask {
		o := s.keys[f.keys+table[i]-1]
		if o.hash == k.hash && string(s.textOf(o, record)) == string(text) {
			return true
		}
	}
	return false
}
