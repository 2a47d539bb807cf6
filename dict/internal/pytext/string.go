package pytext

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// AppendString appends what repr returns for the string s in that version of
// CPython.
//
// s is UTF-8 or WTF-8: a lone surrogate is three bytes, ED A0 80 to ED BF BF,
// and is written as \ud800 to \udfff. Any other byte b that is not UTF-8 counts
// as the lone surrogate U+DC00+b, as with Python's "surrogateescape".
func AppendString[T ~string | ~[]byte](dst []byte, s T, v Version) []byte {
	// Most strings are short and plain: copy s while looking whether it is.
	n := len(dst)
	dst = slices.Grow(dst, len(s)+2)
	out := dst[n : n+len(s)+2]
	out[0], out[len(out)-1] = '\'', '\''
	to, from := out[1:len(out)-1], s
	switch {
	case len(from) >= 8:
		// The last eight bytes first; the others may overlap them.
		x := load64(from[len(from)-8:])
		bad := notPlain(x)
		binary.LittleEndian.PutUint64(to[len(to)-8:], x)
		for len(from) > 8 && len(to) > 8 && bad == 0 {
			x := load64(from[:8])
			bad = notPlain(x)
			binary.LittleEndian.PutUint64(to, x)
			from, to = from[8:], to[8:]
		}
		if bad != 0 {
			return appendString(dst, s, v)
		}
	case len(from) >= 4:
		x, y := load32(from[:4]), load32(from[len(from)-4:])
		if notPlain(uint64(x)|uint64(y)<<32) != 0 {
			return appendString(dst, s, v)
		}
		binary.LittleEndian.PutUint32(to, x)
		binary.LittleEndian.PutUint32(to[len(to)-4:], y)
	default:
		for i := range len(from) {
			c := from[i]
			if !plain[c] {
				return appendString(dst, s, v)
			}
			to[i] = c
		}
	}
	return dst[:n+len(out)]
}

// appendString is AppendString for any string.
func appendString[T ~string | ~[]byte](dst []byte, s T, v Version) []byte {
	// ASCII is written to buf[o:] in whole words, of which only the correct part is kept.
	// So between steps there is always room for the rest of s and this much more: at least
	// a word, an escape or the closing quote.
	const room = 20

	open := len(dst)
	dst = slices.Grow(dst, len(s)+room)
	buf := dst[:cap(dst)]
	buf[open] = '\''
	o := open + 1
	quoteKnown := false
	for i := 0; i < len(s); {
		x := word(s, i)
		if x&0x80 == 0 {
			binary.LittleEndian.PutUint64(buf[o:o+8], x)
			m := notPlain(x)
			if m == 0 {
				i, o = i+8, o+8
				continue
			}
			n := bits.TrailingZeros64(m) / 8
			i, o = i+n, o+n
			if i == len(s) {
				break
			}
			c := s[i]
			if c >= 0x80 {
				continue
			}
			i++
			if c == '\'' {
				if !quoteKnown {
					// Nothing that is written so far depends on the quote.
					quoteKnown = true
					if !contains(s, '"') {
						buf[open] = '"'
					}
				}
				if buf[open] == '"' {
					o++
					continue
				}
			}
			o = len(appendByteEscape(buf[:o], c))
		} else {
			if j := printableRun(s, i); j > i {
				o += copy(buf[o:], s[i:j])
				i = j
				continue
			}
			r, size := decode(x)
			if IsPrintable(v, r) {
				o += copy(buf[o:], s[i:i+size])
				i += size
				continue
			}
			i += size
			o = len(appendRuneEscape(buf[:o], r))
		}
		if len(buf)-o < len(s)-i+room {
			dst = slices.Grow(buf[:o], len(s)-i+room)
			buf = dst[:cap(dst)]
		}
	}
	buf[o] = buf[open]
	return buf[:o+1]
}

const hexDigits = "0123456789abcdef"

// appendByteEscape appends a backslash and the escape of c.
func appendByteEscape(dst []byte, c byte) []byte {
	switch c {
	case '\'', '\\':
	case '\t':
		c = 't'
	case '\n':
		c = 'n'
	case '\r':
		c = 'r'
	default:
		return append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '\\', c)
}

// appendRuneEscape appends the shortest of \x…, \u… and \U… that holds r.
func appendRuneEscape(dst []byte, r rune) []byte {
	n := 8
	switch {
	case r <= 0xFF:
		dst, n = append(dst, '\\', 'x'), 2
	case r <= 0xFFFF:
		dst, n = append(dst, '\\', 'u'), 4
	default:
		dst = append(dst, '\\', 'U')
	}
	for n--; n >= 0; n-- {
		dst = append(dst, hexDigits[r>>(4*n)&15])
	}
	return dst
}
