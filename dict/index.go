package dict

import (
	"encoding/binary"
	"hash/maphash"
)

// indexFrom is the number of keys at which a lookup builds an index.
const indexFrom = 8

// An index finds keys by hash: open addressing over the numbers of pairs.
type index struct {
	slots  []uint32 // pair number + 1; 0 is free; a power of two, at most half full
	hashes []uint64 // of each pair's key
	at     []uint32 // each pair's key in a tape's nodes; unused in tree form
}

var seed = maphash.MakeSeed()

// find returns the number and value of the pair whose key equals key.
func (d *Dict) find(key Value) (at int, v Value, ok bool) {
	if _, ok := hashable(key); !ok {
		return 0, Value{}, false
	}
	if d.v.n <= indexFrom {
		for k, v := range d.v.Pairs() {
			if keyEqual(k, key) {
				return at, v, true
			}
			at++
		}
		return 0, Value{}, false
	}
	ix := d.ix.Load()
	if ix == nil {
		ix = newIndex(d.v)
		d.ix.Store(ix) // concurrent readers store the same index
	}
	h := keyHash(key)
	mask := uint64(len(ix.slots) - 1)
	for s := h & mask; ix.slots[s] != 0; s = (s + 1) & mask {
		at := int(ix.slots[s] - 1)
		if ix.hashes[at] != h {
			continue
		}
		if k, v := ix.pair(d.v, at); keyEqual(k, key) {
			return at, v, true
		}
	}
	return 0, Value{}, false
}

func newIndex(v Value) *index {
	ix := &index{hashes: make([]uint64, 0, v.n), at: make([]uint32, 0, v.n)}
	c := v.children()
	for range v.n {
		ix.at = append(ix.at, c.i)
		ix.hashes = append(ix.hashes, keyHash(c.next()))
		c.next()
	}
	ix.fill()
	return ix
}

// pair returns pair number at of v, which ix indexes.
func (ix *index) pair(v Value, at int) (key, value Value) {
	if v.flags&flagTree != 0 {
		return v.t.tree.items[2*at], v.t.tree.items[2*at+1]
	}
	i := ix.at[at]
	k := v.t.nodes[i]
	return Value{t: v.t, node: k}, Value{t: v.t, node: v.t.nodes[k.end(i)]}
}

// add adds the last pair of v, which is in tree form.
func (ix *index) add(v Value) {
	ix.hashes = append(ix.hashes, keyHash(v.t.tree.items[len(v.t.tree.items)-2]))
	if 2*len(ix.hashes) > len(ix.slots) {
		ix.fill()
		return
	}
	ix.insert(len(ix.hashes) - 1)
}

func (ix *index) fill() {
	size := 2 * indexFrom
	for size < 4*len(ix.hashes) {
		size *= 2
	}
	ix.slots = make([]uint32, size)
	for at := range ix.hashes {
		ix.insert(at)
	}
}

func (ix *index) insert(at int) {
	mask := uint64(len(ix.slots) - 1)
	s := ix.hashes[at] & mask
	for ix.slots[s] != 0 {
		s = (s + 1) & mask
	}
	ix.slots[s] = uint32(at + 1)
}

// keyHash returns a hash of a key. Equal keys have equal hashes.
func keyHash(v Value) uint64 {
	switch {
	case v.kind == KindString:
		return maphash.Bytes(seed, v.t.text(v.node))
	case v.kind == KindInt && v.flags&flagBig == 0:
		return intHash(int64(v.data))
	}
	var buf [64]byte
	key, _ := AppendKey(buf[:0], v)
	if key[0] == 'i' {
		return intHash(int64(binary.BigEndian.Uint64(key[1:])))
	}
	return maphash.Bytes(seed, key)
}

func intHash(i int64) uint64 { return maphash.Comparable(seed, i) }
