package cbor

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

// A parser reads one dictionary.
type parser struct {
	walk.Walk
	chunks chunks
	args   [maxArgs]arg
}

// run continues in buf, which begins with the record's first byte, and returns where the
// record ends, incomplete or failed.
func (p *parser) run(buf []byte) int {
	buf = p.Begun(buf)
	if len(p.Frames) == 0 {
		i := p.start(buf, p.Pos)
		if i < 0 {
			return i
		}
		p.Pos, p.AtKey = i, true
		if f := &p.Frames[0]; p.fits() {
			var behindKey bool
			p.Pos, behindKey = p.pairs(buf, i, f)
			if f.Left == 0 && !behindKey && p.B == nil {
				p.CloseTop()
				return p.Pos
			}
			p.AtKey = !behindKey
		}
	}
	return p.nested(buf)
}

// fits reports whether all integers of 64 bits are within Limits.Digits.
func (p *parser) fits() bool { return p.MaxInt == math.MaxUint64 }

// nested continues in the innermost container, from p.Pos on.
//
// It is one function because its labels are the states of a machine that jump to each other
// and share the local variables; as functions they would need a call per item.
func (p *parser) nested(buf []byte) int {
	var (
		i   = p.Pos
		f   = &p.Frames[len(p.Frames)-1]
		c   byte
		arg uint64
		k   int // the end of what is in hand
	)
	if p.chunks.open {
		goto chunk
	}
	if f.IsDict && !f.InKey && !p.AtKey {
		goto keyed
	}
	p.AtKey, f.InKey = false, false

next: // the next item of f, which begins at i, is no key's value
	if !f.IsDict {
		goto value
	}

key:
	if p.fits() {
		var behindKey bool
		if i, behindKey = p.pairs(buf, i, f); behindKey {
			goto keyed
		}
	}
	if f.Left == 0 {
		goto closed
	}
	if i >= len(buf) {
		p.AtKey = true
		return p.Stop(buf, i, i+1)
	}
	f.KeyAt = uint32(i)
	// The usual key is a short string in ASCII that this dictionary has not seen.
	if k = int(buf[i]) - textString<<5; uint(k-1) < 23 && i+9 <= len(buf) {
		from, size := i+1, k
		w := binary.LittleEndian.Uint64(buf[from:])
		if size < 8 {
			w &= 1<<(8*uint(size)) - 1
		}
		k += from
		if k <= len(buf) && w&walk.Highs == 0 && (size <= 8 || walk.ASCII(buf, from+8, k)) && p.Keys.AddWord(&f.Keys, keyset.Hash(w, buf[k-1], size), from, size) {
			if p.B != nil {
				p.B.Text(from, size)
			}
			i = k
			f.Left--
			f.KeyEnd = uint32(i)
			goto keyed
		}
	}
	if buf[i] == brk && f.Endless {
		i++
		goto closed
	}
	f.InKey = true
	if buf[i]>>5 == textString && buf[i]&31 != indefinite {
		if i = p.textKey(buf, i, f); i < 0 {
			return i
		}
		goto keyEnd
	}
	p.Build(buf, f)
	goto item

keyEnd:
	f.InKey = false
	f.Left--
	f.KeyEnd = uint32(i)

keyed: // the value of a key
	if i >= len(buf) {
		return p.Stop(buf, i, i+1)
	}
	goto item

value: // an item that is no key's
	if f.Kind == dict.KindList && p.fits() {
		i = p.numbers(buf, i, f)
	}
	if f.Left == 0 {
		goto closed
	}
	if i >= len(buf) {
		return p.Stop(buf, i, i+1)
	}
	if f.Kind >= dict.KindSet && f.IsSet() && buf[i] != brk {
		p.Build(buf, f)
	}

item:
	c = buf[i]
	k, arg = i+1, uint64(c&31)
	if arg == 24 && k < len(buf) {
		arg = uint64(buf[k])
		k++
	} else if arg >= 24 {
		if k, arg = p.argument(buf, i); k < 0 {
			return k
		}
	}
	switch c >> 5 {
	case textString:
		if arg > uint64(len(buf)-k) {
			if c&31 == indefinite {
				p.beginChunks(textString, noTag, i)
				i = k
				goto chunk
			}
			return p.Short(buf, i, k, arg)
		}
		from := k
		k += int(arg)
		if arg <= 8 && from+8 <= len(buf) {
			if binary.LittleEndian.Uint64(buf[from:])&walk.Highs&(1<<(8*arg)-1) != 0 && !utf8.Valid(buf[from:k]) {
				return p.BadUTF8(buf, from, k)
			}
		} else if !walk.ASCII(buf, from, k) && !utf8.Valid(buf[from:k]) {
			return p.BadUTF8(buf, from, k)
		}
		if p.B != nil {
			p.B.Text(from, k-from)
		}
	case unsigned:
		if arg > p.MaxInt {
			return p.TooManyDigits(buf, i)
		}
		if p.B != nil {
			p.buildInt(arg, false)
		}
	case negative:
		if arg >= p.MaxInt && p.MaxInt < math.MaxUint64 {
			return p.TooManyDigits(buf, i)
		}
		if p.B != nil {
			p.buildInt(arg, true)
		}
	case byteString:
		if arg > uint64(len(buf)-k) {
			if c&31 == indefinite {
				p.beginChunks(byteString, noTag, i)
				i = k
				goto chunk
			}
			return p.Short(buf, i, k, arg)
		}
		if p.B != nil {
			p.B.Ref(dict.KindBytes, k, int(arg))
		}
		k += int(arg)
	case array:
		if f = p.Open(buf, i, k, dict.KindList, arg, c&31 == indefinite); f == nil {
			return walk.Failed
		}
		i = k
		goto value
	case mapping:
		if f = p.Open(buf, i, k, dict.KindDict, arg, c&31 == indefinite); f == nil {
			return walk.Failed
		}
		i = k
		goto key
	case tag:
		depth := len(p.Frames)
		if k = p.tag(buf, i, k, arg); k < 0 {
			return k
		}
		i = k
		if p.chunks.open {
			goto chunk
		}
		if len(p.Frames) > depth {
			f = &p.Frames[depth]
			goto next
		}
	default:
		if c == brk {
			if f.Endless && !f.IsDict {
				i = k
				goto closed
			}
			return p.Unexpected(buf, i, "an item")
		}
		if k = p.simple(buf, i, k, arg); k < 0 {
			return k
		}
	}
	i = k

itemEnd: // an item of f has ended
	if f.IsDict {
		if !f.InKey {
			goto key
		}
		if !p.Hash(buf, f, i) {
			return walk.Failed
		}
		goto keyEnd
	}
	if f.Kind >= dict.KindSet && f.IsSet() && !p.Hash(buf, f, i) {
		return walk.Failed
	}
	f.Left--
	goto value

chunk:
	if i = p.chunk(buf, i); i < 0 {
		return i
	}
	goto itemEnd

closed:
	if !p.Close(buf, i) {
		return walk.Failed
	}
	if len(p.Frames) == 0 {
		return i
	}
	f = &p.Frames[len(p.Frames)-1]
	goto itemEnd
}

// start reads what precedes the dictionary's first key.
func (p *parser) start(buf []byte, i int) int {
	for {
		if i >= len(buf) {
			return p.Stop(buf, i, i+1)
		}
		c := buf[i]
		if c>>5 == mapping && c&31 < 24 && p.fits() && p.OpenTop(int(c&31), len(buf)-i-1) {
			return i + 1
		}
		k, arg := p.argument(buf, i)
		switch {
		case k < 0:
			return k
		case c>>5 == mapping:
			if p.Open(buf, i, k, dict.KindDict, arg, c&31 == indefinite) == nil {
				return walk.Failed
			}
			return k
		case c>>5 == tag && arg == selfDescribed:
			i = k
		case c>>5 == tag && arg == tagObject:
			if k = p.object(buf, i, k); k < 0 || len(p.Frames) > 0 && p.Frames[0].Kind == dict.KindOrderedDict {
				return k
			}
			return p.NotADictionary(buf, i)
		default:
			return p.NotADictionary(buf, i)
		}
	}
}

// textKey reads the string of definite length at i, a key of f.
func (p *parser) textKey(buf []byte, i int, f *walk.Frame) int {
	k, size := p.argument(buf, i)
	if k < 0 {
		return k
	}
	return p.TextKey(buf, f, i, k, size)
}
