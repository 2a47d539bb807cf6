package json

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"github.com/dictwire/dictwire/internal/jsontext"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, in the highest bit of each byte of w, the first byte of a
// string that needs a look: a quote, a backslash or a control character. Marks
// above the lowest one may be wrong.
func special(w uint64) uint64 { return below(w) &^ w & highs }

// plainEnd is special for a string of ASCII: whatever is beyond is marked, too.
func plainEnd(w uint64) uint64 { return (below(w) | w) & highs }

// below subtracts from each byte so that those which special is to find, and some
// beyond ASCII, have the highest bit set: with the quote (0x22) and the space
// (0x20) in each other's place, it and the control characters are below 0x21.
func below(w uint64) uint64 {
	return ((w ^ ones*('"'^' ')) - ones*0x21) | ((w ^ ones*'\\') - ones)
}

// plainText returns where the string that begins at i ends, if it is ASCII without escapes
// and buf has a whole word at the beginning of each of its words. Otherwise it returns up
// to where the string is like that.
func plainText(buf []byte, i int) (end int, plain bool) {
	for i+8 <= len(buf) {
		m := plainEnd(binary.LittleEndian.Uint64(buf[i:]))
		if m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			return i, buf[i] == '"'
		}
		i += 8
	}
	return i, false
}

// text reads a string, a key or a value as the state in says, from i on. It returns the
// offset of its closing quote, incomplete or failed.
func (p *parser) text(buf []byte, in state, i int) int {
	for {
		for {
			if i+8 > len(buf) {
				for ; i < len(buf); i++ {
					c := buf[i]
					if c == '"' || c == '\\' || c < ' ' {
						break
					}
					p.high = p.high || c >= utf8.RuneSelf
				}
				break
			}
			w := binary.LittleEndian.Uint64(buf[i:])
			m := special(w)
			if m == 0 {
				if w&highs != 0 {
					p.high = true
				}
				i += 8
				continue
			}
			if w&highs&(m&-m-1) != 0 {
				p.high = true
			}
			i += bits.TrailingZeros64(m) >> 3
			break
		}
		if i == len(buf) {
			return p.stop(buf, in, i)
		}
		switch buf[i] {
		case '"':
			if p.high && !utf8.Valid(buf[p.tok:i]) {
				return p.badUTF8(buf, in, p.tok)
			}
			return i
		case '\\':
			p.escape = true
			switch end := p.escaped(buf, in, i); end {
			case incomplete:
				return p.stop(buf, in, i)
			case failed:
				return failed
			default:
				i = end
			}
		default:
			return p.unexpected(buf, in, i, "the string to go on or end (control characters must be escaped)")
		}
	}
}

// escaped checks the escape that begins at i and returns where it ends.
func (p *parser) escaped(buf []byte, in state, i int) int {
	if i+1 == len(buf) {
		return incomplete
	}
	switch buf[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j == len(buf) {
				return incomplete
			}
			if jsontext.Unhex[buf[j]] == jsontext.NotHex {
				return p.unexpected(buf, in, j, "four hexadecimal digits after \\u")
			}
		}
		p.surrogate(buf, i)
		return i + 6
	default:
		return p.unexpected(buf, in, i+1, `one of "\/bfnrtu after a backslash`)
	}
}

// buildText adds the string whose raw text, at off in the record, is given.
func (p *parser) buildText(raw []byte, off int) {
	if !p.escape {
		p.b.Text(off, len(raw))
		return
	}
	p.b.OwnText(jsontext.Unescape(p.b.Own(), raw))
}
