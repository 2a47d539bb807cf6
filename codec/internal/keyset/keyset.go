// Package keyset finds the keys that come twice in a record, for codecs.
package keyset

import (
	"encoding/binary"
	"hash/maphash"
)

// A Set has the keys of all open dictionaries (and the items of all open sets) of a record,
// to find duplicates. Keys are compared in decoded form. A string is its text in the
// record; any other key is what dict.AppendKey writes for it. The two are never equal. A
// NaN, which equals nothing, is not added.
//
// A dictionary with few keys compares each new one with earlier ones that could be equal,
// judging by 8 bits of a very cheap hash. From manyKeys on it has a hash table with a
// seeded hash, so that nobody can choose keys that collide.
type Set struct {
	keys  []keyRef
	slots []uint32 // the tables of the dictionaries with many keys, one after another
	own   []byte   // keys whose text is not in the record
}

// A keyRef is one key: where its bytes are, and its hash. Records, and so offsets
// and sizes, are below 2 GiB.
type keyRef struct {
	hash uint64
	off  uint32 // other is set where the key is not a string
	size uint32 // inOwn is set where the bytes are in Set.own, not in the record
}

const (
	other    = 1 << 31
	inOwn    = 1 << 31
	manyKeys = 32
)

// A Frame is one dictionary's part of a Set.
type Frame struct {
	keys  uint32 // its first in Set.keys
	own   uint32 // its first byte in Set.own
	slots uint32 // its first in Set.slots, if it has many keys
	room  uint32 // how long Set.keys can become by usual keys
	many  bool
	seen  [4]uint64 // the bits of few keys
}

// place returns where f notes that it has seen a key with the given hash.
func (f *Frame) place(hash uint64) (seen *uint64, bit uint64) {
	return &f.seen[hash>>62], 1 << (hash >> 56 & 63)
}

var seed = maphash.MakeSeed()

// Reset forgets everything.
func (s *Set) Reset() { s.keys, s.slots, s.own = s.keys[:0], s.slots[:0], s.own[:0] }

// Scratch returns the bytes of memory that s uses.
func (s *Set) Scratch() int { return 16*cap(s.keys) + 4*cap(s.slots) + cap(s.own) }

// Open begins a dictionary within those that are open.
func (s *Set) Open(f *Frame) {
	f.keys, f.own, f.slots = uint32(len(s.keys)), uint32(len(s.own)), uint32(len(s.slots))
	f.many, f.seen = false, [4]uint64{}
	f.makeRoom(s)
}

// makeRoom sets f.room: as long as keys have room and f needs no table.
func (f *Frame) makeRoom(s *Set) { f.room = min(f.keys+manyKeys-1, uint32(cap(s.keys))) }

// Close forgets the keys of f, which is the innermost dictionary.
func (s *Set) Close(f *Frame) {
	s.keys, s.own, s.slots = s.keys[:f.keys], s.own[:f.own], s.slots[:f.slots]
}

// Add adds the string record[from:to] to the innermost dictionary f and reports
// whether it was there.
func (s *Set) Add(f *Frame, record []byte, from, to int) (twice bool) {
	return s.add(f, record, keyRef{off: uint32(from), size: uint32(to - from)})
}

// Own returns the buffer for a key whose text is not in the record. Append to it and pass
// the result to AddOwn or AddOther.
func (s *Set) Own() []byte { return s.own }

// AddOwn is Add for a string that was appended to what Own returned.
func (s *Set) AddOwn(f *Frame, record, own []byte) (twice bool) {
	return s.addOwn(f, record, own, 0)
}

// AddOther is AddOwn for what dict.AppendKey has written of a key that is not a
// string.
func (s *Set) AddOther(f *Frame, record, own []byte) (twice bool) {
	return s.addOwn(f, record, own, other)
}

func (s *Set) addOwn(f *Frame, record, own []byte, flag uint32) (twice bool) {
	at := len(s.own)
	s.own = own
	return s.add(f, record, keyRef{off: uint32(at) | flag, size: uint32(len(own)-at) | inOwn})
}

func (s *Set) add(f *Frame, record []byte, k keyRef) (twice bool) {
	text := s.bytesOf(k, record)
	if !f.many {
		k.hash = quickHash(text)
		seen, bit := f.place(k.hash)
		if *seen&bit != 0 {
			for _, o := range s.keys[f.keys:] {
				if s.equal(o, k, text, record) {
					return true
				}
			}
		}
		*seen |= bit
		s.keys = append(s.keys, k)
		f.makeRoom(s)
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

// AddNew is Add for a string with at least eight readable bytes after its beginning. It
// returns false, and has done nothing, unless it is certain that the key is new.
func (s *Set) AddNew(f *Frame, record []byte, from, to int) bool {
	size := to - from
	w := binary.LittleEndian.Uint64(record[from:]) & (1<<(8*uint(size)) - 1)
	return size > 0 && s.AddWord(f, mix(w, record[to-1], size), from, size)
}

// Hash returns the hash of a non-empty string for AddWord, from its first eight bytes,
// little-endian and padded with zeros, its last byte and its size.
func Hash(w uint64, last byte, size int) uint64 { return mix(w, last, size) }

// AddWord is AddNew where the string's hash is at hand.
func (s *Set) AddWord(f *Frame, hash uint64, from, size int) bool {
	seen, bit := f.place(hash)
	n := len(s.keys)
	if *seen&bit != 0 || n >= int(f.room) {
		return false
	}
	*seen |= bit
	s.keys = s.keys[:n+1]
	s.keys[n] = keyRef{hash, uint32(from), uint32(size)}
	return true
}

// Last returns the bytes of the last key of f. inner is the open dictionary directly inside
// f, or nil.
func (s *Set) Last(f, inner *Frame, record []byte) []byte {
	end := len(s.keys)
	if inner != nil {
		end = int(inner.keys)
	}
	if end == int(f.keys) {
		return nil
	}
	return s.bytesOf(s.keys[end-1], record)
}

func (s *Set) bytesOf(k keyRef, record []byte) []byte {
	off := k.off &^ other
	if k.size&inOwn != 0 {
		return s.own[off : off+k.size&^inOwn]
	}
	return record[off : off+k.size]
}

// equal reports whether o is the same key as k, whose bytes are given.
func (s *Set) equal(o, k keyRef, bytes, record []byte) bool {
	return o.hash == k.hash && (o.off^k.off)&other == 0 && string(s.bytesOf(o, record)) == string(bytes)
}

// quickHash is good enough to tell a few keys apart: it looks at the first eight
// bytes, the last one and the size.
func quickHash(b []byte) uint64 {
	if len(b) >= 8 {
		return mix(binary.LittleEndian.Uint64(b), b[len(b)-1], len(b))
	}
	var w uint64
	var last byte
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

// toTable gives f a table over a better hash.
func (s *Set) toTable(f *Frame, record []byte) {
	f.many, f.room = true, 0
	own := s.keys[f.keys:]
	for i := range own {
		own[i].hash = maphash.Bytes(seed, s.bytesOf(own[i], record))
	}
	s.grow(f)
}

// grow makes f's table, which is the last one, large enough for twice the keys
// it has.
func (s *Set) grow(f *Frame) {
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
func (s *Set) insert(f *Frame, n int) {
	table := s.slots[f.slots:]
	mask := uint64(len(table) - 1)
	i := s.keys[int(f.keys)+n-1].hash & mask
	for table[i] != 0 {
		i = (i + 1) & mask
	}
	table[i] = uint32(n)
}

func (s *Set) lookup(f *Frame, k keyRef, text, record []byte) bool {
	table := s.slots[f.slots:]
	mask := uint64(len(table) - 1)
	for i := k.hash & mask; table[i] != 0; i = (i + 1) & mask {
		if s.equal(s.keys[f.keys+table[i]-1], k, text, record) {
			return true
		}
	}
	return false
}
