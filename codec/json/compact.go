package json

import (
	"encoding/binary"
	"math/bits"
)

// AppendCompact appends a record that a scanner accepted without the white space between
// its tokens, and otherwise as it is.
func AppendCompact(dst, record []byte) []byte {
	from := 0
	for i := 0; i < len(record); {
		switch c := record[i]; {
		case c == '"':
			i = textEnd(record, i+1)
		case isSpace(c):
			dst = append(dst, record[from:i]...)
			i++
			from = i
		default:
			i++
		}
	}
	return append(dst, record[from:]...)
}

// textEnd returns the offset after the closing quote of a valid string that begins at i.
func textEnd(record []byte, i int) int {
	for {
		for i+8 <= len(record) {
			m := special(binary.LittleEndian.Uint64(record[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		switch record[i] {
		case '"':
			return i + 1
		case '\\':
			i += 2
		default: // within the last word
			i++
		}
	}
}
