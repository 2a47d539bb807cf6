package walk

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/dict"
)

// Usual says which scalars of a format are read in few steps, by their first bytes.
type Usual struct {
	// Size is of a scalar in bytes, head included. IsText is set for a string; of the one
	// whose size is in its second byte, nothing else is. Zero is any other item.
	Size [256]uint8

	// Text is the first byte of the empty string. Those of longer ones, up to shorter than
	// Long, follow it.
	Text, Long int

	// Map and List are the first bytes of the empty ones. Those of longer ones, up to
	// shorter than Few, follow them.
	Map, List, Few int

	// No is a byte that begins no item.
	No byte

	// Build adds the scalar at i, which is whole and no string.
	Build func(b *dict.Builder, buf []byte, i int)
}

// IsText marks strings in [Usual].Size.
const IsText = 0x80

// Pairs reads pairs of the dictionary f, from the key at i on, as long as they are usual:
// the key is a string in ASCII with a head of one byte, and the value one of u. It returns
// where it stops, and whether that is after a key. [Walk.Fits] must be true.
//
// It does nothing that a parser does not do, only in fewer steps.
func (w *Walk) Pairs(u *Usual, buf []byte, i int, f *Frame) (end int, afterKey bool) {
	for f.Left > 0 && i < len(buf) {
		size := int(buf[i]) - u.Text
		from := i + 1
		k := from + size
		if uint(size-1) >= uint(u.Long-1) || k >= len(buf) {
			break
		}
		var word uint64 // its first bytes
		switch {
		case size >= 8:
			if word = binary.LittleEndian.Uint64(buf[from:]); size > 8 && !ASCII(buf, from+8, k) {
				return i, false
			}
		case from+8 <= len(buf):
			word = binary.LittleEndian.Uint64(buf[from:]) & (1<<(8*uint(size)) - 1)
		case k >= 8:
			word = binary.LittleEndian.Uint64(buf[k-8:]) >> (64 - 8*uint(size))
		default:
			return i, false
		}
		if word&Highs != 0 ||
			!w.Keys.AddWord(&f.Keys, keyset.Hash(word, buf[k-1], size), from, size) && w.Keys.Add(&f.Keys, buf, from, k) {
			break
		}
		if w.B != nil {
			w.B.Text(from, size)
		}
		f.KeyAt, f.KeyEnd = uint32(i), uint32(k)
		f.Left--
		i = k
		size = int(u.Size[buf[i]])
		if size < IsText {
			if k = i + size; size == 0 || k > len(buf) {
				return i, true
			}
			if w.B != nil {
				u.Build(w.B, buf, i)
			}
			i = k
			continue
		}
		size -= IsText
		from = i + 1
		if size == 0 && from < len(buf) {
			size = 2 + int(buf[from])
			from++
		}
		if k = i + size; size == 0 || k > len(buf) ||
			!ShortASCII(buf, from, k) && !ASCII(buf, from, k) && !utf8.Valid(buf[from:k]) {
			return i, true
		}
		if w.B != nil {
			w.B.Text(from, k-from)
		}
		i = k
	}
	return i, false
}

// Numbers reads items of the list f, from i on, as long as they are of u and not strings.
// It returns where it stops.
func (w *Walk) Numbers(u *Usual, buf []byte, i int, f *Frame) (end int) {
	for f.Left > 0 && i < len(buf) {
		size := int(u.Size[buf[i]])
		if size == 0 || size >= IsText || i+size > len(buf) {
			break
		}
		if w.B != nil {
			u.Build(w.B, buf, i)
		}
		f.Left--
		i += size
	}
	return i
}
