package json

import (
	"math/bits"

	"github.com/dictwire/dictwire/codec/internal/shape"
)

// repeat returns the end of the record at the beginning of buf, if it is of p's shape, all
// of it has arrived, and it is good. Otherwise it returns 0, and has done nothing.
func (p *parser) repeat(buf []byte) (end int) {
	buf = buf[:min(len(buf), p.lim.RecordBytes)]
	if len(buf) < shape.Least {
		return 0
	}
	var (
		i     int
		plain bool
		parts = p.shape.Parts
	)
	for k := range parts {
		s := &parts[k]
		if !s.Begins(shape.Word(buf, i)) || !s.Ends(buf, i) {
			return 0
		}
		i += s.Size
		if k == len(parts)-1 {
			break
		}
		w := shape.Word(buf, i)
		switch c := byte(w); {
		case c == '"':
			i++
			text := i
			for {
				m := plainEnd(shape.Word(buf, i))
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

// learn counts a good record of usual pairs alone that was not of p's shape.
func (p *parser) learn(record []byte) {
	if !p.shape.Miss() {
		return
	}
	from := 0
	for i := 0; i < len(record); {
		end := i + 1
		switch c := record[i]; {
		case c == '"':
			for record[end] != '"' {
				end++
			}
			if end++; record[end] == ':' {
				i = end
				continue
			}
		case c-'0' <= 9 || c-'a' <= 'z'-'a':
			for record[end]-'0' <= 9 || record[end]-'a' <= 'z'-'a' {
				end++
			}
		default:
			i++
			continue
		}
		if !p.shape.Add(record[from:i]) {
			return
		}
		i, from = end, end
	}
	p.shape.Add(record[from:])
}
