package python

import (
	"bytes"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A literal is a string or bytes in hand, of one or more pieces.
type literal struct {
	kind       dict.Kind // of the pieces before, KindNull if this is the first
	off, n     int       // the text, as long as it is in the record as it is
	own        bool      // the text is in parser.text
	surrogates bool

	// The piece in hand:
	bytes, raw bool // its prefix
	quote      byte
	triple     bool // its quotes
	opened     bool // it is known how many its quotes are
	begin      int  // of its content
	quotes     int  // how many were read in a row
	skip       bool // a backslash was read, but not the character after it
	cr         bool // a backslash and CR were read, to which a line feed belongs
}

// openString begins the first piece of a string, whose quote is at i.
func (p *parser) openString(i int) int {
	p.str = literal{}
	p.tok = i
	return p.openPiece(i)
}

func (p *parser) openPiece(i int) int {
	p.str.begin, p.str.opened, p.str.triple, p.str.skip, p.str.cr, p.str.quotes = i, false, false, false, false, 0
	p.state = inString
	return i
}

// string reads a piece of a string on from i.
func (p *parser) string(buf []byte, i int) int {
	s := &p.str
	if !s.opened {
		// One quote, two for an empty string, or three.
		rest := buf[s.begin:]
		s.quote = rest[0]
		switch {
		case len(rest) > 2 && rest[1] == s.quote && rest[2] == s.quote:
			s.triple = true
			s.begin += 3
		case len(rest) > 2 || len(rest) == 2 && rest[1] != s.quote:
			s.begin++
		default:
			return p.stop(s.begin)
		}
		s.opened = true
		i = s.begin
	}
	for i < len(buf) {
		c := buf[i]
		i++
		afterCR := s.cr
		s.cr = false
		switch {
		case c == 0:
			return p.unexpected(buf, i-1, "the string to go on or end")
		case afterCR && c == '\n':
		case s.skip:
			s.skip, s.quotes = false, 0
			s.cr = c == '\r'
		case c == s.quote:
			if s.quotes++; s.triple && s.quotes < 3 {
				continue
			}
			end := i - 1
			if s.triple {
				end = i - 3
			}
			if !p.piece(buf, end) {
				return failed
			}
			p.state = afterString
			return i
		case c == '\\':
			s.skip, s.quotes = true, 0
		case (c == '\n' || c == '\r') && !s.triple:
			return p.unexpected(buf, i-1, "the string to go on or end on its line")
		default:
			s.quotes = 0
		}
	}
	return p.stop(i)
}

// piece adds the piece of a string whose content ends at end.
func (p *parser) piece(buf []byte, end int) bool {
	s := &p.str
	raw := buf[s.begin:end]
	k := dict.KindString
	if s.bytes {
		k = dict.KindBytes
	}
	if s.kind != dict.KindNull && s.kind != k {
		p.fail(fault.Malformed, s.begin, "want pieces of one kind side by side, got a string and bytes")
		return false
	}
	if !p.checkContent(buf, raw) {
		return false
	}
	plain := bytes.IndexByte(raw, '\r') < 0 && (s.raw || bytes.IndexByte(raw, '\\') < 0)
	if plain && s.kind == dict.KindNull {
		s.kind, s.off, s.n, s.own = k, s.begin, len(raw), false
		return true
	}
	if s.kind == dict.KindNull {
		p.text = p.text[:0]
	} else if !s.own {
		p.text = append(p.text[:0], buf[s.off:s.off+s.n]...)
	}
	s.kind, s.own = k, true
	if plain {
		p.text = append(p.text, raw...)
		return true
	}
	return p.unescape(buf, s.begin, end)
}

// checkContent checks the characters of a piece in the record.
func (p *parser) checkContent(buf, raw []byte) bool {
	if p.str.bytes {
		for i, c := range raw {
			if c >= utf8.RuneSelf {
				p.unexpected(buf, p.str.begin+i, "ASCII in bytes")
				return false
			}
		}
		return true
	}
	if utf8.Valid(raw) {
		return true
	}
	p.unexpected(buf, p.str.begin+wording.NotUTF8(raw), "UTF-8")
	p.err.Hint = "encode the text as UTF-8 before it is sent"
	return false
}

// unescape appends to p.text what buf[i:end], the content of a piece, means.
func (p *parser) unescape(buf []byte, i, end int) bool {
	s := &p.str
	for i < end {
		c := buf[i]
		i++
		switch {
		case c == '\r': // as every end of a line, a line feed
			if i < end && buf[i] == '\n' {
				i++
			}
			p.text = append(p.text, '\n')
			continue
		case c != '\\' || s.raw:
			p.text = append(p.text, c)
			continue
		}
		c = buf[i] // a backslash is never the last
		i++
		switch c {
		case '\r':
			if i < end && buf[i] == '\n' {
				i++
			}
		case '\n':
		case '\\', '\'', '"':
			p.text = append(p.text, c)
		case '0', '1', '2', '3', '4', '5', '6', '7':
			r := rune(c - '0')
			for n := 1; n < 3 && i < end && buf[i]-'0' < 8; n++ {
				r = r<<3 | rune(buf[i]-'0')
				i++
			}
			p.appendRune(r)
		case 'x':
			if i = p.hex(buf, i, end, 2); i < 0 {
				return false
			}
		case 'u', 'U', 'N':
			if s.bytes {
				p.text = append(p.text, '\\', c)
				continue
			}
			if c == 'N' {
				p.unexpected(buf, i-1, "another escape than \\N")
				p.err.Hint = "characters by name are not read; write \\u or \\U"
				return false
			}
			n := 4
			if c == 'U' {
				n = 8
			}
			if i = p.hex(buf, i, end, n); i < 0 {
				return false
			}
		default:
			if e := unescaped[c]; e != 0 {
				p.text = append(p.text, e)
				continue
			}
			p.text = append(p.text, '\\', c)
		}
	}
	return true
}

var unescaped = [256]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// hex reads the n hexadecimal digits of an escape, from i on, and returns where
// they end, or failed.
func (p *parser) hex(buf []byte, i, end, n int) int {
	r := rune(0)
	for range n {
		if i == end || !isHex(buf[i]) {
			return p.unexpected(buf, i, "hexadecimal digits of the escape")
		}
		c := buf[i]
		if !isDigit(c) {
			c = c | 0x20 - 'a' + 10 + '0'
		}
		r = r<<4 | rune(c-'0')
		i++
	}
	if r < 0 || r > utf8.MaxRune {
		return p.unexpected(buf, i-1, "a character up to U+10FFFF")
	}
	p.appendRune(r)
	return i
}

// appendRune appends the character, or the byte, of an escape.
func (p *parser) appendRune(r rune) {
	switch {
	case p.str.bytes:
		p.text = append(p.text, byte(r))
	case r >= 0xD800 && r <= 0xDFFF:
		p.text = dict.AppendSurrogate(p.text, r)
		p.str.surrogates = true
	default:
		p.text = utf8.AppendRune(p.text, r)
	}
}

// concatenated reads what follows a piece of a string: another piece, or what follows the
// value.
func (p *parser) concatenated(buf []byte, i int) int {
	i = p.space(buf, i)
	if i < 0 || i == len(buf) {
		return p.pause(buf, i)
	}
	if c := buf[i]; isLetter(c) || c == '\'' || c == '"' {
		quote, ok := p.prefix(buf, i)
		if ok {
			return p.openPiece(quote)
		}
		if quote == len(buf) && quote-i <= 2 {
			return p.stop(i)
		}
		return p.unexpected(buf, i, p.top().wantsBehind())
	}
	s := &p.str
	if !s.own {
		p.b.Ref(s.kind, s.off, s.n)
	} else if own := append(p.b.Own(), p.text...); s.bytes {
		p.b.OwnRef(dict.KindBytes, own)
	} else {
		p.b.OwnText(own, s.surrogates)
	}
	return p.built(i, notNumber)
}

// prefix reads the letters before a string's quote. ok is false if they are not one of
// Python's prefixes; quote is then where the letters that may be one end.
func (p *parser) prefix(buf []byte, i int) (quote int, ok bool) {
	var isBytes, raw, uni bool
	for ; i < len(buf); i++ {
		switch c := buf[i]; {
		case c == '\'' || c == '"':
			p.str.bytes, p.str.raw = isBytes, raw
			return i, true
		case c|0x20 == 'b' && !isBytes && !uni:
			isBytes = true
		case c|0x20 == 'r' && !raw && !uni:
			raw = true
		case c|0x20 == 'u' && !isBytes && !raw && !uni:
			uni = true
		default:
			return i, false
		}
	}
	return i, false
}
