package cbor

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/walk"
)

// usual is the size, head included, of the scalars that most values are: integers,
// floats, bools, null, and strings shorter than 24 bytes. Zero is any other.
var usual = func() (size [256]uint8) {
	for c := range size {
		switch major, info := c>>5, c&31; {
		case major == textString && info < 24:
			size[c] = uint8(1 + info)
		case major <= negative && info < 24, major == simple && info >= simpleFalse && info <= simpleNull:
			size[c] = 1
		case (major <= negative || major == simple && info > 24) && info >= 24 && info < 28:
			size[c] = uint8(1 + 1<<(info-24))
		}
	}
	return size
}()

// pairs reads pairs of the dictionary f, from the key at i on, as long as they are usual:
// the key is a string of 1 to 23 bytes in ASCII, and the value one of usual, or a string of
// up to 255 bytes. It returns where it stops, and whether that is after a key.
//
// It does nothing that nested does not do, only in fewer steps.
func (p *parser) pairs(buf []byte, i int, f *walk.Frame) (end int, afterKey bool) {
	for f.Left > 0 && i < len(buf) {
		size := int(buf[i]) - textString<<5
		from := i + 1
		k := from + size
		if uint(size-1) >= 23 || k >= len(buf) {
			break
		}
		var w uint64 // its first bytes
		switch {
		case size >= 8:
			if w = binary.LittleEndian.Uint64(buf[from:]); size > 8 && !walk.ASCII(buf, from+8, k) {
				return i, false
			}
		case from+8 <= len(buf):
			w = binary.LittleEndian.Uint64(buf[from:]) & (1<<(8*uint(size)) - 1)
		case k >= 8:
			w = binary.LittleEndian.Uint64(buf[k-8:]) >> (64 - 8*uint(size))
		default:
			return i, false
		}
		if w&walk.Highs != 0 ||
			!p.Keys.AddWord(&f.Keys, keyset.Hash(w, buf[k-1], size), from, size) && p.Keys.Add(&f.Keys, buf, from, k) {
			break
		}
		if p.B != nil {
			p.buildUsual(buf, i, k)
		}
		f.KeyAt, f.KeyEnd = uint32(i), uint32(k)
		f.Left--
		i = k
		c := buf[i]
		size = int(usual[c])
		if c>>5 != textString {
			if k = i + size; size == 0 || k > len(buf) {
				return i, true
			}
			if p.B != nil {
				p.buildUsual(buf, i, k)
			}
			i = k
			continue
		}
		from = i + 1
		if c == textString<<5|24 && from < len(buf) {
			size = 2 + int(buf[from])
			from++
		}
		if k = i + size; size == 0 || k > len(buf) {
			return i, true
		}
		if size <= 9 && from+8 <= len(buf) {
			if binary.LittleEndian.Uint64(buf[from:])&walk.Highs&(1<<(8*uint(size-1))-1) != 0 && !utf8.Valid(buf[from:k]) {
				return i, true
			}
		} else if !walk.ASCII(buf, from, k) && !utf8.Valid(buf[from:k]) {
			return i, true
		}
		if p.B != nil {
			p.buildUsual(buf, i, k)
		}
		i = k
	}
	return i, false
}

// buildUsual adds the usual scalar buf[i:k], or a string of up to 255 bytes.
//
//go:noinline
func (p *parser) buildUsual(buf []byte, i, k int) {
	c := buf[i]
	if c>>5 == textString {
		if i++; c&31 == 24 {
			i++
		}
		p.B.Text(i, k-i)
		return
	}
	_, arg, _ := readHead(buf, i)
	switch c >> 5 {
	case unsigned, negative:
		p.buildInt(arg, c>>5 == negative)
	default:
		p.simple(buf, i, i+1, arg)
	}
}

// numbers reads items of the list f, from i on, as long as they are usual and not strings.
// It returns where it stops.
func (p *parser) numbers(buf []byte, i int, f *walk.Frame) (end int) {
	for f.Left > 0 && i < len(buf) {
		size := int(usual[buf[i]])
		if size == 0 || i+size > len(buf) || buf[i]>>5 == textString {
			break
		}
		if p.B != nil {
			p.buildUsual(buf, i, i+size)
		}
		f.Left--
		i += size
	}
	return i
}
