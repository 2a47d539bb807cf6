package json

import (
	"encoding/binary"
	"math/bits"

	"github.com/dictwire/dictwire/codec/internal/keyset"
)

// usualDigits is more digits than an integer has that pairs reads.
const usualDigits = 8

// The words as they are in memory, little-endian.
const (
	wordTrue  = 't' | 'r'<<8 | 'u'<<16 | 'e'<<24
	wordFalse = 'f' | 'a'<<8 | 'l'<<16 | 's'<<24 | 'e'<<32
	wordNull  = 'n' | 'u'<<8 | 'l'<<16 | 'l'<<24
)

// begin reads the record at the beginning of buf if it is a dictionary of usual pairs. It
// returns where the dictionary ends, or 0 if run has to continue, even if begin has done
// nothing.
func (p *parser) begin(buf []byte) (end int) {
	if cap(p.frames) == 0 || !p.quick() || buf[0] != '{' {
		return 0
	}
	p.frames = p.frames[:1]
	f := &p.frames[0]
	f.isDict, f.twice, f.n = true, false, 0
	p.keys.Open(&f.keys)
	i, s := p.pairs(buf, 1, f)
	if s == atComma && i < min(len(buf), p.lim.RecordBytes) && buf[i] == '}' && 2*int(f.n) <= p.lim.Items {
		p.frames = p.frames[:0]
		p.keys.Reset()
		return i + 1
	}
	p.pos, p.state = i, s
	return 0
}

// quick reports whether pairs may be used.
func (p *parser) quick() bool { return p.lim.Digits >= usualDigits }

// pairs reads pairs of the dictionary f, from the key at i on, as long as they are usual:
// the key is plain, and so is the value, if it is a string; or it is an integer of less than
// usualDigits digits, a bool or null; and there is no more white space than a space after a
// colon and a comma. It returns where it stops, and the state in which run has to
// continue.
//
// It does nothing that run does not do, only in fewer steps.
func (p *parser) pairs(buf []byte, i int, f *frame) (end int, s state) {
	if s = atKey; f.n == 0 {
		s = atKeyOrEnd
	}
	var (
		size int
		w    uint64 // the first bytes of what is in hand
	)
	for ; ; s = atKey {
		key := i
		if i < len(buf) && buf[i] == ' ' {
			i++
		}
		if i+9 > len(buf) || buf[i] != '"' {
			return key, s
		}
		i++
		from := i
		w = binary.LittleEndian.Uint64(buf[i:])
		if m := plainEnd(w); m != 0 {
			n := bits.TrailingZeros64(m) &^ 7
			w &= 1<<uint(n) - 1
			i += n >> 3
		} else {
			i, _ = plainText(buf, i+8)
		}
		size = i - from
		if i == len(buf) || buf[i] != '"' || size == 0 ||
			!p.keys.AddWord(&f.keys, keyset.Hash(w, buf[i-1], size), from, size) && p.keys.Add(&f.keys, buf, from, i) {
			p.tok, p.escape, p.high = from, false, false
			return i, inKey
		}
		i++
		if p.b != nil {
			p.b.Text(from, size)
		}
		f.n++
		if i+10 > len(buf) || buf[i] != ':' {
			return i, atColon
		}
		i++
		if buf[i] == ' ' {
			i++
		}
		w = binary.LittleEndian.Uint64(buf[i:])
		switch c := byte(w); {
		case c == '"':
			text := i + 1
			var plain bool
			if i, plain = plainText(buf, text); !plain {
				p.tok, p.escape, p.high = text, false, false
				return i, inString
			}
			if p.b != nil {
				p.b.Text(text, i-text)
			}
			i++
		case c-'0' <= 9:
			n := toNonDigit(w)
			if n == usualDigits || n > 1 && c == '0' {
				return i, atValue
			}
			if c = byte(w >> (8 * uint(n))); c == '.' || c|0x20 == 'e' {
				return i, atValue
			}
			if p.b != nil {
				p.b.Int(toInt(w, n))
			}
			i += n
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
			return i, atValue
		}
		if i == len(buf) || buf[i] != ',' {
			return i, atComma
		}
		i++
	}
}
