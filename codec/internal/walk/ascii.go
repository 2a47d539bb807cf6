package walk

import "encoding/binary"

// Highs are the highest bits of the bytes of a word.
const Highs = 0x8080808080808080

// ShortASCII is ASCII for at most eight bytes. It is small enough to be inlined.
func ShortASCII(buf []byte, from, to int) bool {
	return to-from <= 8 && from+8 <= len(buf) &&
		binary.LittleEndian.Uint64(buf[from:])&Highs&(1<<(8*uint(to-from))-1) == 0
}

// ASCII reports whether buf[from:to] is sure to be ASCII. It looks at words that end
// at to, so it is not sure in the smallest of buffers.
func ASCII(buf []byte, from, to int) bool {
	if to < 8 {
		return false
	}
	w := binary.LittleEndian.Uint64(buf[to-8:])
	size := to - from
	if size < 8 {
		return w&(Highs<<(64-8*uint(size))) == 0
	}
	for ; size > 8; size -= 8 {
		w |= binary.LittleEndian.Uint64(buf[from:])
		from += 8
	}
	return w&Highs == 0
}
