package msgpack

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

// A parser reads one dictionary.
type parser struct{ walk.Walk }

// run continues in buf, which begins with the record's first byte, and returns where the
// record ends, incomplete or failed.
//
// It is one function, since a call per item shows: with the scalars from null on in a function
// of their own, a scan takes 10 to 16 % longer. For the same reason it does not share its
// skeleton with package cbor, whose item headers differ: what the two have in common is in
// package walk.
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
	case c&0xF0 == fixmap:
		k, size = i+1, uint64(c&15)
		if p.OpenTop(int(size), len(buf)-k) {
			f, i = &p.Frames[0], k
			goto key
		}
		goto openMap
	case c == map16, c == map32:
		goto item
	case c == unused:
		return p.Unexpected(buf, i, "a dictionary")
	default:
		return p.NotADictionary(buf, i)
	}

next: // the next item of f, which begins at i, is no key's value
	if !f.IsDict {
		goto value
	}

key:
	if f.Left == 0 {
		goto closed
	}
	if i >= len(buf) {
		p.AtKey = true
		return p.Stop(buf, i, i+1)
	}
	f.KeyAt = uint32(i)
	// The usual key is a short string in ASCII that this dictionary has not seen.
	if k = int(buf[i]) - fixstr; uint(k) < 32 && i+9 <= len(buf) {
		from := i + 1
		if k += from; k <= len(buf) && (walk.ShortASCII(buf, from, k) || walk.ASCII(buf, from, k)) &&
			(p.Keys.AddNew(&f.Keys, buf, from, k) || !p.Keys.Add(&f.Keys, buf, from, k)) {
			if p.B != nil {
				p.B.Text(from, k-from)
			}
			i = k
			f.Left--
			f.KeyEnd = uint32(i)
			goto keyed
		}
	}
	f.InKey = true
	if c = buf[i]; c >= fixstr && c < null || c >= str8 && c <= str32 {
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
	if f.Left == 0 {
		goto closed
	}
	if i >= len(buf) {
		return p.Stop(buf, i, i+1)
	}

item:
	c = buf[i]
	k = i + 1
	switch {
	case c < fixmap:
		if uint64(c) > p.MaxInt {
			return p.TooManyDigits(buf, i)
		}
		if p.B != nil {
			p.B.Int(int64(c))
		}
		goto itemEnd
	case c >= negative:
		if uint64(-int64(int8(c))) > p.MaxInt {
			return p.TooManyDigits(buf, i)
		}
		if p.B != nil {
			p.B.Int(int64(int8(c)))
		}
		goto itemEnd
	case c < null:
		size = uint64(c & 15)
		switch {
		case c >= fixstr:
			size = uint64(c & 31)
			goto text
		case c < fixarray:
			goto openMap
		default:
			goto openArray
		}
	}
	// Here c is from null to map32.
	if w := int(width[c-null]); w > 0 {
		if k += w; k > len(buf) {
			return p.Stop(buf, i, k)
		}
		switch w { // as number does
		case 1:
			size = uint64(buf[k-1])
		case 2:
			size = uint64(binary.BigEndian.Uint16(buf[k-2:]))
		case 4:
			size = uint64(binary.BigEndian.Uint32(buf[k-4:]))
		default:
			size = binary.BigEndian.Uint64(buf[k-8:])
		}
	}
	switch c {
	case null:
		if p.B != nil {
			p.B.Null()
		}
	case no, yes:
		if p.B != nil {
			p.B.Bool(c == yes)
		}
	case float32s, float64s:
		if p.B != nil {
			p.B.Float(floatOf(c, size))
		}
	case uint8s, uint16s, uint32s, uint64s:
		if size > p.MaxInt {
			return p.TooManyDigits(buf, i)
		}
		switch {
		case p.B == nil:
		case size > math.MaxInt64:
			p.B.OwnInt(strconv.AppendUint(p.B.Own(), size, 10))
		default:
			p.B.Int(int64(size))
		}
	case int8s, int16s, int32s, int64s:
		v := extended(c, size)
		if v < 0 && uint64(-v) > p.MaxInt || v > 0 && uint64(v) > p.MaxInt {
			return p.TooManyDigits(buf, i)
		}
		if p.B != nil {
			p.B.Int(v)
		}
	case str8, str16, str32:
		goto text
	case bin8, bin16, bin32:
		if size > uint64(len(buf)-k) {
			return p.Short(buf, i, k, size)
		}
		if p.B != nil {
			p.B.Ref(dict.KindBytes, k, int(size))
		}
		k += int(size)
	case array16, array32:
		goto openArray
	case map16, map32:
		goto openMap
	case unused:
		return p.Unexpected(buf, i, "a value")
	default:
		if c >= fixext1 && c <= fixext16 {
			size = 1 << (c - fixext1)
		}
		if k = p.extension(buf, i, k, size); k < 0 {
			return k
		}
	}

itemEnd: // an item of f has ended at k
	i = k
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

text: // of size bytes from k on
	if size > uint64(len(buf)-k) {
		return p.Short(buf, i, k, size)
	}
	i = k
	k += int(size)
	if !walk.ShortASCII(buf, i, k) && !walk.ASCII(buf, i, k) && !utf8.Valid(buf[i:k]) {
		return p.BadUTF8(buf, i, k)
	}
	if p.B != nil {
		p.B.Text(i, k-i)
	}
	goto itemEnd

openArray:
	if f = p.Open(buf, i, k, dict.KindList, size, false); f == nil {
		return walk.Failed
	}
	i = k
	goto value

openMap:
	if f = p.Open(buf, i, k, dict.KindDict, size, false); f == nil {
		return walk.Failed
	}
	i = k
	goto key

closed:
	p.Close(buf, i)
	if len(p.Frames) == 0 {
		return i
	}
	f = &p.Frames[len(p.Frames)-1]
	k = i
	goto itemEnd
}

// textKey reads the string at i, a key of f.
func (p *parser) textKey(buf []byte, i int, f *walk.Frame) int {
	c := buf[i]
	k, size := i+1, uint64(c&31)
	if c >= null {
		if k += int(width[c-null]); k > len(buf) {
			return p.Stop(buf, i, k)
		}
		size = number(buf[i+1 : k])
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
