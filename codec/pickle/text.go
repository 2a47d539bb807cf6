package pickle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// text pushes a string in UTF-8 that may contain lone surrogates, as Python's
// "surrogatepass" writes them.
func (m *machine) text(from, to int) bool {
	b := m.src[from:to]
	if isASCII(m.src, from, to) || utf8.Valid(b) {
		m.push(content(kindText, from, len(b)))
		return true
	}
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			if !isSurrogate(b[i:]) {
				return m.fail(fault.Malformed, fmt.Sprintf("want UTF-8, got byte 0x%02x at byte %d", b[i], from+i))
			}
			size = 3
		}
		i += size
	}
	at := len(m.own)
	m.own = append(m.own, b...)
	m.pushOwn(kindText, at, true)
	return true
}

// shortText pushes the string of the SHORT_BINUNICODE at i, and runs the MEMOIZE after it:
// the most frequent opcodes. It returns the offset of the next one, or 0, having done
// nothing, if there is anything unusual.
func (m *machine) shortText(i int) (next int) {
	if i+1 >= len(m.src) {
		return 0
	}
	from := i + 2
	to := from + int(m.src[i+1])
	if to >= len(m.src) || !isASCII(m.src, from, to) && !utf8.Valid(m.src[from:to]) {
		return 0
	}
	v := content(kindText, from, to-from)
	m.push(v)
	if m.src[to] != opMemoize || m.puts != len(m.memo) {
		return to
	}
	m.memo = append(m.memo, v)
	m.puts++
	return to + 1
}

// isASCII reports whether b[from:to] is ASCII. It looks at words, and may say no
// where the last one reaches beyond b.
func isASCII(b []byte, from, to int) bool {
	const high = 0x8080808080808080
	for ; from+8 <= to; from += 8 {
		if binary.LittleEndian.Uint64(b[from:])&high != 0 {
			return false
		}
	}
	if from+8 > len(b) {
		return from == to
	}
	return binary.LittleEndian.Uint64(b[from:])<<(64-8*uint(to-from))&high == 0
}

// isSurrogate reports whether b begins with a surrogate in the scheme of UTF-8.
func isSurrogate(b []byte) bool {
	return len(b) >= 3 && b[0] == 0xED && b[1] >= 0xA0 && b[1] <= 0xBF && b[2] >= 0x80 && b[2] <= 0xBF
}

// pushOwn pushes the text in own from at on.
func (m *machine) pushOwn(k kind, at int, odd bool) {
	v := content(k, at, len(m.own)-at)
	v.head |= ownBit
	if odd {
		v.head |= oddBit
	}
	m.push(v)
}

// bytesOf returns a text, bytes or a bytearray.
func (m *machine) bytesOf(v value) []byte {
	from := m.src
	if v.own() {
		from = m.own
	}
	return from[v.data : v.data+uint64(v.n())]
}

// appendRune appends a character or a lone surrogate.
func appendRune(dst []byte, r rune) []byte {
	if r >= 0xD800 && r <= 0xDFFF {
		return dict.AppendSurrogate(dst, r)
	}
	return utf8.AppendRune(dst, r)
}

// escapedText pushes a string in Python's raw-unicode-escape: Latin-1 with \u and
// four hexadecimal digits, or \U and eight.
func (m *machine) escapedText(line []byte) bool {
	at, odd := len(m.own), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c != '\\' || i+1 == len(line) {
			m.own = utf8.AppendRune(m.own, rune(c))
			continue
		}
		i++
		var size int
		switch line[i] {
		case 'u':
			size = 4
		case 'U':
			size = 8
		default:
			m.own = append(m.own, '\\')
			m.own = utf8.AppendRune(m.own, rune(line[i]))
			continue
		}
		hex := line[i+1 : min(i+1+size, len(line))]
		r, err := strconv.ParseUint(string(hex), 16, 32)
		if err != nil || len(hex) < size || r > utf8.MaxRune {
			return m.fail(fault.Malformed, fmt.Sprintf("want %d hexadecimal digits of a character after \\%c, got %.8q", size, line[i], hex))
		}
		odd = odd || r >= 0xD800 && r <= 0xDFFF
		m.own = appendRune(m.own, rune(r))
		i += size
	}
	m.pushOwn(kindText, at, odd)
	return true
}

// python2 pushes the str of Python 2, if it is ASCII.
func (m *machine) python2(from, to int) bool {
	if !m.wantASCII(m.src[from:to]) {
		return false
	}
	m.push(content(kindText, from, to-from))
	return true
}

func (m *machine) wantASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			m.fail(fault.Malformed, fmt.Sprintf("want a str of Python 2 in ASCII, got byte 0x%02x", c))
			m.err.Hint = "nobody knows its encoding; pickle with Python 3, or make it unicode"
			return false
		}
	}
	return true
}

// quotedPython2 pushes the str of Python 2 as its repr.
func (m *machine) quotedPython2(line []byte) bool {
	n := len(line)
	if n < 2 || line[0] != line[n-1] || line[0] != '\'' && line[0] != '"' {
		return m.fail(fault.Malformed, fmt.Sprintf("want a string in quotes, got %.20q", line))
	}
	at := len(m.own)
	for line = line[1 : n-1]; len(line) > 0; {
		if line[0] != '\\' {
			m.own = append(m.own, line[0])
			line = line[1:]
			continue
		}
		c, size := unescape(line)
		if size == 0 {
			return m.fail(fault.Malformed, fmt.Sprintf("want an escape of a Python 2 string, got %.4q", line))
		}
		m.own = append(m.own, c)
		line = line[size:]
	}
	if !m.wantASCII(m.own[at:]) {
		return false
	}
	m.pushOwn(kindText, at, false)
	return true
}

// unescape reads the escape that b begins with, one that Python 2's repr writes.
func unescape(b []byte) (c byte, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '\\', '\'', '"':
		return b[1], 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'x':
		if len(b) < 4 {
			return 0, 0
		}
		n, err := strconv.ParseUint(string(b[2:4]), 16, 8)
		if err != nil {
			return 0, 0
		}
		return byte(n), 4
	default:
		return 0, 0
	}
}

// latin1 appends a string to own in Latin-1, as _codecs.encode does.
func (m *machine) latin1(s []byte) bool {
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		if r > 0xFF || r == utf8.RuneError {
			return m.fail(fault.Malformed, "want bytes as a string of characters up to U+00FF")
		}
		m.own = append(m.own, byte(r))
		s = s[size:]
	}
	return true
}

// splitGlobal returns the two lines of a GLOBAL.
func splitGlobal(operand []byte) (module, name []byte) {
	module, name, _ = bytes.Cut(operand, []byte{'\n'})
	return module, name
}
