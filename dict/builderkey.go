package dict

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// A setKey is the key of a frozenset.
type setKey struct {
	sum    [sha256.Size]byte
	equals bool // itself
}

// smallKey is the largest container, in values, whose key is the same as AppendKey's.
const smallKey = 16

// AppendKey is [AppendKey] for the complete, hashable value at a place. The result may
// only be compared with keys from the same Builder. A frozenset within another container
// is hashed once, however often its container is asked for: its key is the SHA-256 of its
// items' keys.
func (b *Builder) AppendKey(dst []byte, place int) (key []byte, equals bool) {
	v := b.At(place)
	if b.end(place)-place-1 <= smallKey {
		return AppendKey(dst, v)
	}
	if v.kind != KindFrozenSet {
		dst = append(dst, '(', byte(v.kind), byte(v.space()))
		dst = binary.BigEndian.AppendUint32(dst, v.n)
		equals = true
		for child, end := place+1, b.end(place); child < end; child = b.end(child) {
			var fine bool
			dst, fine = b.AppendKey(dst, child)
			equals = equals && fine
		}
		return dst, equals
	}
	k, known := b.keys[place]
	if !known {
		k = b.setKey(place)
		if b.keys == nil {
			b.keys = make(map[int]setKey)
		}
		b.keys[place] = k
	}
	return append(append(dst, 'D'), k.sum[:]...), k.equals
}

func (b *Builder) setKey(place int) setKey {
	var (
		all    []byte // the keys of the items
		ends   []int
		equals = true
	)
	for child, end := place+1, b.end(place); child < end; child = b.end(child) {
		var fine bool
		all, fine = b.AppendKey(all, child)
		equals = equals && fine
		ends = append(ends, len(all))
	}
	keys, from := make([][]byte, len(ends)), 0
	for i, end := range ends {
		keys[i], from = all[from:end], end
	}
	slices.SortFunc(keys, bytes.Compare) // a set has no order
	h := sha256.New()
	for _, key := range keys {
		h.Write(key)
	}
	k := setKey{equals: equals}
	h.Sum(k.sum[:0])
	return k
}
