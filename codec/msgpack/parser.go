package msgpack

import (
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

// A parser reads one dictionary.
type parser struct{ walk.Walk }

// run continues in buf, which begins with the record's first byte, and returns where the
// record ends, incomplete or failed.
func (p *parser) run(buf []byte) int {
	buf = p.Begun(buf)
	var (
		i    = p.Pos
		f    *walk.Frame
		c    byte
		k    int // the end of what is in hand
		size uint64
	)
	if n := len(p.Frames); n > 0 {
		f = &p.Frames[n-1]
		if f.IsDict && !f.InKey && !p.AtKey {
			goto keyed
		}
		p.AtKey, f.InKey = false, false
		goto next
	}
	if i >= len(buf) {
		return p.Stop(buf, i, i+1)
	}
	switch c = buf[i]; {
	case classOf(c) != ofMap:
		if c == unused {
			return p.Unexpected(buf, i, "a dictionary")
		}
		return p.NotADictionary(buf, i)
	case c < fixarray && p.OpenTop(int(c&15), len(buf)-i-1):
		f, i = &p.Frames[0], i+1
		goto key
	default:
		goto item
	}

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
	f.InKey = true
	if classOf(buf[i]) == ofStr {
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

value: // an item of a list
	if p.Fits() {
		i = p.Numbers(usual, buf, i, f)
	}
	if f.Left == 0 {
		goto closed
	}
	if i >= len(buf) {
		return p.Stop(buf, i, i+1)
	}

item:
	if k, size = p.head(buf, i); k < 0 {
		return k
	}
	switch c = buf[i]; classOf(c) {
	case ofArray:
		if f = p.Open(buf, i, k, dict.KindList, size, false); f == nil {
			return walk.Failed
		}
		i = k
		goto value
	case ofMap:
		if f = p.Open(buf, i, k, dict.KindDict, size, false); f == nil {
			return walk.Failed
		}
		i = k
		goto key
	default:
		if k = p.scalar(buf, i, k, size); k < 0 {
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
	f.Left--
	goto value

closed:
	p.Close(buf, i)
	if len(p.Frames) == 0 {
		return i
	}
	f = &p.Frames[len(p.Frames)-1]
	goto itemEnd
}

// head reads the first byte of the item at i, and the number or length after it. It returns
// where they end, incomplete or failed.
func (p *parser) head(buf []byte, i int) (k int, size uint64) {
	c := buf[i]
	switch k = i + headSize(c); {
	case k > len(buf):
		return p.Stop(buf, i, k), 0
	case c >= null:
		return k, number(buf[i+1 : k])
	case c >= fixstr:
		return k, uint64(c & 31)
	default:
		return k, uint64(c & 15)
	}
}

// scalar reads the rest of the item at i, no array or map. Its head ends at k, with the
// number or length size.
func (p *parser) scalar(buf []byte, i, k int, size uint64) int {
	c := buf[i]
	switch classOf(c) {
	case ofStr:
		if size > uint64(len(buf)-k) {
			return p.Short(buf, i, k, size)
		}
		end := k + int(size)
		if !walk.ShortASCII(buf, k, end) && !walk.ASCII(buf, k, end) && !utf8.Valid(buf[k:end]) {
			return p.BadUTF8(buf, k, end)
		}
		if p.B != nil {
			p.B.Text(k, end-k)
		}
		return end
	case ofBin:
		if size > uint64(len(buf)-k) {
			return p.Short(buf, i, k, size)
		}
		if p.B != nil {
			p.B.Ref(dict.KindBytes, k, int(size))
		}
		return k + int(size)
	case ofExt:
		if c >= fixext1 && c <= fixext16 {
			size = 1 << (c - fixext1)
		}
		return p.extension(buf, i, k, size)
	case ofInt:
		if !p.Fits() && magnitude(c, size) > p.MaxInt {
			return p.TooManyDigits(buf, i)
		}
	case ofNothing:
		return p.Unexpected(buf, i, "a value")
	default: // nothing to check
	}
	if p.B != nil {
		buildUsual(p.B, buf, i)
	}
	return k
}

// textKey reads the string at i, a key of f.
func (p *parser) textKey(buf []byte, i int, f *walk.Frame) int {
	k, size := p.head(buf, i)
	if k < 0 {
		return k
	}
	return p.TextKey(buf, f, i, k, size)
}

// extension reads the rest of the extension at i: its code, at k, and size bytes.
func (p *parser) extension(buf []byte, i, k int, size uint64) int {
	if k >= len(buf) || size > uint64(len(buf)-k-1) {
		return p.Short(buf, i, k+1, size)
	}
	code, from := int8(buf[k]), k+1
	end := from + int(size)
	if p.B == nil {
		return end
	}
	if code == timestampCode {
		if t, ok := timestamp(buf[from:end]); ok {
			_ = p.B.DateTime(t) // in range
			return end
		}
	}
	at := p.B.OpenTagged(dict.MessagePackExt)
	p.B.Int(int64(code))
	p.B.Ref(dict.KindBytes, from, int(size))
	p.B.Close(at, 2)
	return end
}
