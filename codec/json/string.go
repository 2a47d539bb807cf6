package json

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
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

// plainText returns where the string that begins at i ends, if it is ASCII
// without escapes and a word of buf is behind the beginning of each of its words.
// Otherwise it returns up to where the string is so.
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

// text reads a string, a key or a value as the state in says, from i on. It
// returns where its closing quote stands, incomplete or failed.
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
			if unhex[buf[j]] == notHex {
				return p.unexpected(buf, in, j, "four hexadecimal digits after \\u")
			}
		}
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
	p.b.OwnText(unescape(p.b.Own(), raw))
}

// unescape appends the text that a checked string means to dst, and reports
// whether it holds lone surrogates, which it writes as WTF-8.
func unescape(dst, raw []byte) (text []byte, surrogates bool) {
	for {
		n := bytes.IndexByte(raw, '\\')
		if n < 0 {
			return append(dst, raw...), surrogates
		}
		dst = append(dst, raw[:n]...)
		c := raw[n+1]
		if raw = raw[n+2:]; c != 'u' {
			dst = append(dst, unescaped[c])
			continue
		}
		r := hex4(raw)
		raw = raw[4:]
		if r < 0xD800 || r > 0xDFFF {
			dst = utf8.AppendRune(dst, r)
			continue
		}
		if r < 0xDC00 && len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
			if low := hex4(raw[2:]); low >= 0xDC00 && low <= 0xDFFF {
				dst = utf8.AppendRune(dst, (r-0xD800)<<10|(low-0xDC00)+0x10000)
				raw = raw[6:]
				continue
			}
		}
		dst = dict.AppendSurrogate(dst, r)
		surrogates = true
	}
}

var unescaped = [256]byte{
	'"': '"', '\\': '\\', '/': '/',
	'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

const notHex = 0xFF

var unhex = func() (v [256]byte) {
	for c := range v {
		switch {
		case '0' <= c && c <= '9':
			v[c] = byte(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v[c] = byte(c|0x20-'a') + 10
		default:
			v[c] = notHex
		}
	}
	return v
}()

func hex4(b []byte) rune {
	return rune(unhex[b[0]])<<12 | rune(unhex[b[1]])<<8 | rune(unhex[b[2]])<<4 | rune(unhex[b[3]])
}
