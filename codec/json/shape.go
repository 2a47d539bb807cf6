package json

import (
	"encoding/binary"
	"math/bits"
)

// A shape is a record without its values: the bytes before each of them, and after the
// last. The next record usually has the same. Then its keys need not be looked at: those
// of a shape are all different.
type shape struct {
	parts  []part // none: there is no shape
	items  int    // of the record, as Limits.Items counts them
	misses int    // records in a row that were of another shape
}

const (
	maxParts   = 17 // in a shape
	maxPart    = 24 // bytes of one
	manyMisses = 4
)

// A part is the text between two values, in words.
type part struct {
	head uint64 // the first
	mask uint64 // of the bytes that head has
	mid  uint64 // the second, if there are more than sixteen bytes
	tail uint64 // the last, if there are more than eight bytes
	size int
}

func newPart(text []byte) part {
	var words [maxPart]byte
	n := copy(words[:], text)
	p := part{head: binary.LittleEndian.Uint64(words[:]), mask: 1<<(8*uint(n)) - 1, size: n}
	if n > 8 {
		p.tail = binary.LittleEndian.Uint64(words[n-8:])
	}
	if n > 16 {
		p.mid = binary.LittleEndian.Uint64(words[8:])
	}
	return p
}

// wordAt returns the eight bytes at i of buf, which has eight or more, with zeros for those
// beyond its end.
func wordAt(buf []byte, i int) uint64 {
	if i+8 <= len(buf) {
		return binary.LittleEndian.Uint64(buf[i:])
	}
	return binary.LittleEndian.Uint64(buf[len(buf)-8:]) >> (8 * uint(i+8-len(buf)))
}

// repeat returns the end of the record at the beginning of buf, if it is of p's shape, all
// of it has arrived, and it is good. Otherwise it returns 0, and has done nothing.
func (p *parser) repeat(buf []byte) (end int) {
	buf = buf[:min(len(buf), p.lim.RecordBytes)]
	if len(buf) < 8 {
		return 0
	}
	var (
		i     int
		plain bool
		parts = p.shape.parts
	)
	for k := range parts {
		s := &parts[k]
		if wordAt(buf, i)&s.mask != s.head {
			return 0
		}
		next := i + s.size
		if s.size > 8 {
			if next > len(buf) || binary.LittleEndian.Uint64(buf[next-8:]) != s.tail ||
				s.size > 16 && binary.LittleEndian.Uint64(buf[i+8:]) != s.mid {
				return 0
			}
		}
		i = next
		if k == len(parts)-1 {
			break
		}
		if i >= len(buf) {
			return 0
		}
		w := wordAt(buf, i)
		switch c := byte(w); {
		case c == '"':
			i++
			text := i
			for {
				m := plainEnd(wordAt(buf, i))
				if m != 0 {
					i += bits.TrailingZeros64(m) >> 3
					break
				}
				i += 8
			}
			if plain = i < len(buf) && buf[i] == '"'; !plain {
				p.tok, p.escape, p.high = text, false, false
				if i = p.text(buf, inString, i); i < 0 {
					p.reset()
					return 0
				}
			}
			i++
		case c-'0' <= 9:
			n := toNonDigit(w)
			if n < usualDigits && (n == 1 || c != '0') {
				if c = byte(w >> (8 * uint(n))); c != '.' && c|0x20 != 'e' {
					i += n
					continue
				}
			}
			fallthrough
		case c == '-':
			if i = p.number(buf, i); i < 0 {
				p.reset()
				return 0
			}
		case uint32(w) == wordTrue, uint32(w) == wordNull:
			i += 4
		case w&(1<<40-1) == wordFalse:
			i += 5
		default:
			return 0
		}
	}
	return i
}

// learn counts a good record that was not of p's shape. If many before it were not, either,
// its own shape is expected from now on.
func (p *parser) learn(record []byte) {
	s := &p.shape
	if s.misses++; s.misses < manyMisses {
		return
	}
	s.misses, s.items, s.parts = 0, 0, s.parts[:0]
	from := 0
	for i := 0; i < len(record); {
		switch c := record[i]; {
		case c == '"':
			end := i + 1
			for record[end] != '"' {
				if record[end] == '\\' {
					end++
				}
				end++
			}
			end++
			if record[end] == ':' {
				i = end + 1
				s.items += 2
				continue
			}
			if !s.add(record[from:i]) {
				return
			}
			i, from = end, end
		case isSpace(c) || c == ',' || c == '{' || c == '}':
			i++
		default:
			end := i
			for record[end] != ',' && record[end] != '}' && !isSpace(record[end]) {
				end++
			}
			if !s.add(record[from:i]) {
				return
			}
			i, from = end, end
		}
	}
	s.add(record[from:])
}

func (s *shape) add(text []byte) bool {
	if len(text) > maxPart || len(s.parts) == maxParts {
		s.parts = s.parts[:0]
		return false
	}
	s.parts = append(s.parts, newPart(text))
	return true
}
