package cbor

import (
	"math"
	"unicode/utf8"

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
		if f := &p.Frames[0]; p.Fits() {
			var afterKey bool
			p.Pos, afterKey = p.Pairs(usual, buf, i, f)
			if f.Left == 0 && !afterKey && p.B == nil {
				p.CloseTop()
				return p.Pos
			}
			p.AtKey = !afterKey
		}
	}
	return p.nested(buf)
}

// nested continues in the innermost container, from p.Pos on. It is a state machine, of which
// each label is a state.
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
	if p.Fits() {
		var afterKey bool
		if i, afterKey = p.Pairs(usual, buf, i, f); afterKey {
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
	if f.Kind == dict.KindList && p.Fits() {
		i = p.Numbers(usual, buf, i, f)
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
		switch {
		case c == brk && f.Endless && !f.IsDict:
			i = k
			goto closed
		case c&31 == indefinite && (c>>5 == textString || c>>5 == byteString):
			p.beginChunks(c>>5, noTag, i)
			i = k
			goto chunk
		}
		if k = p.scalar(buf, i, k, arg); k < 0 {
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

// scalar reads the rest of the item at i: an integer, a string of definite length, a simple
// value or a float. Its head ends at k and has the argument arg.
func (p *parser) scalar(buf []byte, i, k int, arg uint64) int {
	switch c := buf[i]; c >> 5 {
	case textString:
		if arg > uint64(len(buf)-k) {
			return p.Short(buf, i, k, arg)
		}
		end := k + int(arg)
		if !walk.ShortASCII(buf, k, end) && !walk.ASCII(buf, k, end) && !utf8.Valid(buf[k:end]) {
			return p.BadUTF8(buf, k, end)
		}
		if p.B != nil {
			p.B.Text(k, end-k)
		}
		return end
	case byteString:
		if arg > uint64(len(buf)-k) {
			return p.Short(buf, i, k, arg)
		}
		if p.B != nil {
			p.B.Ref(dict.KindBytes, k, int(arg))
		}
		return k + int(arg)
	case unsigned, negative:
		minus := c>>5 == negative
		if arg > p.MaxInt || minus && arg == p.MaxInt && p.MaxInt < math.MaxUint64 {
			return p.TooManyDigits(buf, i)
		}
		if p.B != nil {
			buildInt(p.B, arg, minus)
		}
		return k
	default:
		if c == brk {
			return p.Unexpected(buf, i, "an item")
		}
		return p.simple(buf, i, k, arg)
	}
}

// start reads what precedes the dictionary's first key.
func (p *parser) start(buf []byte, i int) int {
	for {
		if i >= len(buf) {
			return p.Stop(buf, i, i+1)
		}
		c := buf[i]
		if c>>5 == mapping && c&31 < 24 && p.Fits() && p.OpenTop(int(c&31), len(buf)-i-1) {
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
