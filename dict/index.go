package dict

import (
	"hash/maphash"
	"math"
	"math/big"
)

// indexFrom is the number of keys from which a lookup builds an index.
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
	if !hashable(key) {
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
		d.ix.Store(ix) // readers that build it at once store the same
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
		return v.t.items[2*at], v.t.items[2*at+1]
	}
	i := ix.at[at]
	k := v.t.nodes[i]
	return Value{t: v.t, node: k}, Value{t: v.t, node: v.t.nodes[k.end(i)]}
}

// add takes in the last pair of v, which is in tree form.
func (ix *index) add(v Value) {
	ix.hashes = append(ix.hashes, keyHash(v.t.items[len(v.t.items)-2]))
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

// hashable reports whether v can be a key.
func hashable(v Value) bool { return v.kind < KindList }

// keyEqual is Python's == between two hashable values.
func keyEqual(a, b Value) bool {
	if a.kind == KindString || b.kind == KindString {
		return a.kind == b.kind && string(a.t.text(a.node)) == string(b.t.text(b.node))
	}
	if a.kind == KindNull || b.kind == KindNull {
		return a.kind == b.kind
	}
	if a.kind != KindFloat && b.kind != KindFloat && (a.flags|b.flags)&flagBig == 0 {
		return a.data == b.data
	}
	// Numbers of different kinds are equal if their values are.
	x, xf := number(a)
	y, yf := number(b)
	switch {
	case x != nil && y != nil:
		return x.Cmp(y) == 0
	case x == nil && y == nil:
		return xf == yf
	default: // an integer and a float that is none
		return false
	}
}

// number returns a bool, int or float as an integer if its value is one, else
// as a float.
func number(v Value) (*big.Int, float64) {
	switch v.kind {
	case KindBool:
		return big.NewInt(int64(v.data)), 0
	case KindInt:
		i, _ := v.BigInt()
		return i, 0
	default:
		f := math.Float64frombits(v.data)
		if f != math.Trunc(f) || math.IsInf(f, 0) {
			return nil, f
		}
		i, _ := big.NewFloat(f).Int(nil)
		return i, 0
	}
}

// keyHash returns equal numbers for keys that are equal.
func keyHash(v Value) uint64 {
	switch v.kind {
	case KindNull:
		return maphash.Comparable(seed, struct{}{})
	case KindString:
		return maphash.Bytes(seed, v.t.text(v.node))
	case KindFloat:
		f := math.Float64frombits(v.data)
		switch {
		case f == math.Trunc(f) && f >= -1<<63 && f < 1<<63:
			return maphash.Comparable(seed, int64(f))
		case f != math.Trunc(f) || math.IsInf(f, 0):
			return maphash.Comparable(seed, f)
		}
		i, _ := big.NewFloat(f).Int(nil)
		return maphash.Bytes(seed, i.Append(nil, 10))
	default:
		if v.flags&flagBig != 0 {
			return maphash.Bytes(seed, v.t.text(v.node))
		}
		return maphash.Comparable(seed, int64(v.data))
	}
}
