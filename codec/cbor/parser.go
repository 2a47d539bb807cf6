package cbor

import (
	"encoding/binary"
	"math"
	"strconv"
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

// chunks are the string of indefinite length that is open, whose content so far
// is Walk.Text.
type chunks struct {
	open  bool
	major byte
	tag   uint64 // in front of it, or noTag
	at    int    // where its head stands, the tag's if there is one
}

const noTag = math.MaxUint64

// The major types.
const (
	unsigned = iota
	negative
	byteString
	textString
	array
	mapping
	tag
	simple
)

const (
	indefinite = 31   // additional information: no length
	brk        = 0xFF // the end of what has none
)

// run reads on in buf, which begins with the record's first byte, and returns
// where the record ends, incomplete or failed.
func (p *parser) run(buf []byte) int {
	buf = p.Resume(buf)
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

// nested goes on within the innermost container, from pos on.
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

// start reads what stands before the dictionary's first key.
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

// argument reads the head that begins at i and returns where it ends, incomplete or
// failed, and its argument. That of an indefinite length is the largest number.
func (p *parser) argument(buf []byte, i int) (k int, arg uint64) {
	k, arg, ok := readHead(buf, i)
	switch {
	case !ok:
		return p.Unexpected(buf, i, "an item"), 0
	case k > len(buf):
		return p.Stop(buf, i, k), 0
	default:
		return k, arg
	}
}

// readHead returns where the head that begins at i ends, perhaps beyond buf, and its
// argument. ok is false where the first byte begins none.
func readHead(buf []byte, i int) (k int, arg uint64, ok bool) {
	info := buf[i] & 31
	k = i + 1
	switch {
	case info < 24:
		return k, uint64(info), true
	case info == indefinite:
		major := buf[i] >> 5
		return k, math.MaxUint64, major >= byteString && major != tag
	case info > 27:
		return k, 0, false
	}
	size := 1 << (info - 24)
	if k+size > len(buf) {
		return k + size, 0, true
	}
	switch b := buf[k:]; info {
	case 24:
		arg = uint64(b[0])
	case 25:
		arg = uint64(binary.BigEndian.Uint16(b))
	case 26:
		arg = uint64(binary.BigEndian.Uint32(b))
	default:
		arg = binary.BigEndian.Uint64(b)
	}
	return k + size, arg, true
}

// textKey reads the string of definite length at i, a key of f.
func (p *parser) textKey(buf []byte, i int, f *walk.Frame) int {
	k, size := p.argument(buf, i)
	if k < 0 {
		return k
	}
	return p.TextKey(buf, f, i, k, size)
}

// buildInt adds arg, or if minus is set -1 - arg.
func (p *parser) buildInt(arg uint64, minus bool) {
	switch {
	case arg > math.MaxInt64 && minus:
		own := append(p.B.Own(), '-')
		if arg == math.MaxUint64 {
			p.B.OwnInt(append(own, "18446744073709551616"...))
			return
		}
		p.B.OwnInt(strconv.AppendUint(own, arg+1, 10))
	case arg > math.MaxInt64:
		p.B.OwnInt(strconv.AppendUint(p.B.Own(), arg, 10))
	case minus:
		p.B.Int(-1 - int64(arg))
	default:
		p.B.Int(int64(arg))
	}
}

// simple reads the rest of a simple value or float whose head, at i, ends at k.
func (p *parser) simple(buf []byte, i, k int, arg uint64) int {
	if v, ok := float(buf[i], arg); ok {
		if p.B != nil {
			p.B.Float(v)
		}
		return k
	}
	if k > i+1 && arg < 32 {
		return p.Unexpected(buf, i, "a simple value in its short form")
	}
	if p.B == nil {
		return k
	}
	switch arg {
	case simpleFalse, simpleTrue:
		p.B.Bool(arg == simpleTrue)
	case simpleNull:
		p.B.Null()
	default:
		at := p.B.OpenTagged(dict.CBORSimple)
		p.B.Int(int64(arg))
		p.B.Null()
		p.B.Close(at, 2)
	}
	return k
}

const (
	simpleFalse = 20 + iota
	simpleTrue
	simpleNull
)

// float returns the float whose head begins with c, if it is one.
func float(c byte, bits uint64) (float64, bool) {
	switch c {
	case simple<<5 | 25:
		return half(uint16(bits)), true
	case simple<<5 | 26:
		return float64(math.Float32frombits(uint32(bits))), true
	case simple<<5 | 27:
		return math.Float64frombits(bits), true
	default:
		return 0, false
	}
}

// half returns the float of IEEE 754 binary16.
func half(h uint16) float64 {
	exp, fraction := int(h>>10&31), float64(h&1023)
	var v float64
	switch exp {
	case 0:
		v = math.Ldexp(fraction, -24)
	case 31:
		if v = math.Inf(1); fraction != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(fraction+1024, exp-25)
	}
	if h>>15 != 0 {
		v = -v
	}
	return v
}

// beginChunks begins the string of indefinite length at i.
func (p *parser) beginChunks(major byte, tag uint64, i int) {
	p.chunks = chunks{open: true, major: major, tag: tag, at: i}
	p.Text = p.Text[:0]
}

// chunk reads on in the string of indefinite length, at whose next chunk i stands.
func (p *parser) chunk(buf []byte, i int) int {
	c := &p.chunks
	for {
		if i >= len(buf) {
			return p.Stop(buf, i, i+1)
		}
		if buf[i] == brk {
			break
		}
		if buf[i]>>5 != c.major || buf[i]&31 == indefinite {
			return p.Unexpected(buf, i, "a chunk of the string")
		}
		k, size := p.argument(buf, i)
		if k < 0 {
			return k
		}
		if size > uint64(len(buf)-k) {
			return p.Short(buf, i, k, size)
		}
		from := k
		k += int(size)
		if c.major == textString && !utf8.Valid(buf[from:k]) {
			return p.BadUTF8(buf, from, k)
		}
		p.Text = append(p.Text, buf[from:k]...)
		i = k
	}
	c.open = false
	switch {
	case c.tag != noTag:
		if !p.stringTag(buf, c.at, c.tag, p.Text) {
			return walk.Failed
		}
	case p.B != nil && c.major == textString:
		p.B.OwnText(append(p.B.Own(), p.Text...), false)
	case p.B != nil:
		p.B.OwnRef(dict.KindBytes, append(p.B.Own(), p.Text...))
	}
	return i + 1
}
