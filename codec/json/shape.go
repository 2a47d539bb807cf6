package json

import (
	"bytes"
	"math/bits"
	"strings"

	"github.com/dictwire/dictwire/codec/internal/shape"
	"github.com/dictwire/dictwire/dict"
)

// noValue is a byte that begins no value. The usual white space after a colon is one of the
// shape's bytes.
const noValue = ' '

// repeat returns the end of the record at the beginning of buf, if it is of one of p's shapes
// and good, and all of it has arrived. Otherwise it returns 0, and has done nothing. Limits
// other than the size are those that a record of the shape was within.
func (p *parser) repeat(buf []byte) (end int) {
	buf = buf[:min(len(buf), p.lim.RecordBytes)]
	f := p.shapes.Find(buf, noValue)
	if f == nil {
		return 0
	}
	if p.b != nil && (!f.Flat || !p.quick() || 2*(len(f.Parts)-1) > p.lim.Items) {
		return 0
	}
	if end = p.like(f, buf); end <= 0 {
		p.reset()
		f.Miss()
		return 0
	}
	f.Hit()
	return end
}

// like is repeat for the shape f, but p may have changed if it returns no end.
func (p *parser) like(f *shape.Shape, buf []byte) (end int) {
	var (
		i     int
		plain bool
		place int
		parts = f.Parts
	)
	if p.b != nil {
		place = p.b.Open(dict.KindDict)
	}
	for k := range parts {
		s := &parts[k]
		if !s.Begins(shape.Word(buf, i)) || !s.Ends(buf, i) {
			return 0
		}
		if k == len(parts)-1 {
			i += int(s.Size)
			break
		}
		if p.b != nil {
			p.b.Text(i+int(s.Key), int(s.KeySize))
		}
		i += int(s.Size)
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
					return 0
				}
				if p.b != nil {
					p.buildText(buf[text:i], text)
				}
			} else if p.b != nil {
				p.b.Text(text, i-text)
			}
			i++
		case c-'0' <= 9:
			n := toNonDigit(w)
			if n < usualDigits && (n == 1 || c != '0') {
				if c = byte(w >> (8 * uint(n))); c != '.' && c|0x20 != 'e' {
					if p.b != nil {
						p.b.Int(toInt(w, n))
					}
					i += n
					continue
				}
			}
			fallthrough
		case c == '-':
			if i = p.number(buf, i); i < 0 {
				return 0
			}
		case uint32(w) == wordTrue, uint32(w) == wordNull:
			if p.b != nil {
				p.buildWord(c)
			}
			i += 4
		case w&(1<<40-1) == wordFalse:
			if p.b != nil {
				p.buildWord(c)
			}
			i += 5
		default:
			return 0
		}
	}
	if p.b != nil {
		p.b.Close(place, len(parts)-1)
	}
	return i
}

// learn counts a good record that was of no shape. With keepLast its keys may come twice, so
// it is no shape for others; nor is one whose keys may be beyond RFC 8259.
func (p *parser) learn(record []byte) {
	if p.keepLast || p.extended() {
		return
	}
	if f := p.shapes.Learn(); f != nil {
		p.shapes.Learned(f, p.quick() && outline(f, record), p.b != nil)
	}
}

// outline adds the parts of a good record to f. It returns false if they are too many or too
// large.
func outline(f *shape.Shape, record []byte) bool {
	f.Flat = false
	var from, key, size, inner int
	for i := 0; i < len(record); {
		end := i + 1
		switch c := record[i]; {
		case c == '"':
			for ; record[end] != '"'; end++ {
				if record[end] == '\\' {
					end++
				}
			}
			end++
			next := end
			for isSpace(record[next]) {
				next++
			}
			if record[next] == ':' { // a key
				key, size = i+1-from, end-i-2
				if bytes.IndexByte(record[i:end], '\\') >= 0 {
					inner++
				}
				i = next
				continue
			}
		case isSpace(c) || strings.IndexByte("{}[],:", c) >= 0:
			if i > 0 && (c == '{' || c == '[') {
				inner++
			}
			i++
			continue
		default:
			for !isSpace(record[end]) && strings.IndexByte("}],", record[end]) < 0 {
				end++
			}
		}
		if !f.Add(record[from:i], key, size) {
			return false
		}
		i, from = end, end
	}
	f.Flat = inner == 0
	return f.Add(record[from:], 0, 0)
}
