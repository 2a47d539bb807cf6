package msgpack

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/fault"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/dict"
)

// A parser reads one dictionary. The scanner and Decode are the same parser: with
// a Builder it writes down what it reads, without one it only checks.
//
// It stops only between items: one whose head, or whose body, has not come whole
// is read again from its first byte. A string is not looked into before it is
// whole, so that costs the same each time.
type parser struct {
	lim    codec.Limits  // effective
	maxInt uint64        // the largest integer with Limits.Digits digits, or all
	b      *dict.Builder // nil: check only

	// Where the parser stands in the record. Offsets count from its first byte.
	pos    int // everything before it has been read
	items  int
	frames []frame // the open containers
	keys   keyset.Set

	// A key that is no string is built even where the parser only checks: in
	// scratch, which is b while building > 0, the depth of the dictionary whose key
	// it is.
	scratch  dict.Builder
	building int

	err *codec.SyntaxError

	unneeded int // records in a row that did not need the memory that is held
}

// A frame is an open container.
type frame struct {
	kind   dict.Kind
	inKey  bool   // it is part of a key: arrays are tuples
	value  bool   // of a dictionary: the key has been read, its value comes next
	left   uint32 // items, or pairs, to come
	n      uint32 // items, or keys
	place  uint32 // what Builder.Close wants
	item   uint32 // the place of the key that is being built
	keyAt  uint32 // where the last key begins
	keyEnd uint32 // and ends
	keys   keyset.Frame
}

// limit sets the limits.
func (p *parser) limit(lim codec.Limits) {
	p.lim, p.maxInt = lim.Effective(), math.MaxUint64
	if p.lim.Digits < 20 {
		p.maxInt = 1
		for range p.lim.Digits {
			p.maxInt *= 10
		}
		p.maxInt--
	}
}

// reset makes p ready for the next record.
func (p *parser) reset() {
	p.pos, p.items = 0, 0
	p.frames = p.frames[:0]
	p.keys.Reset()
	p.err = nil
	if p.building > 0 {
		p.b, p.building = nil, 0
	}
}

// What functions that read return beside the end of what they have read.
const (
	incomplete = -1
	failed     = -2 // p.err says why
)

// run reads on in buf, which begins with the record's first byte, and returns
// where the record ends, incomplete or failed.
func (p *parser) run(buf []byte) int {
	if len(buf) > p.lim.RecordBytes {
		buf = buf[:p.lim.RecordBytes] // what needs more is too large
	}
	if p.building > 0 {
		p.b.Extend(buf)
	}
	var (
		i    = p.pos
		f    *frame
		c    byte
		k    int // the end of what is in hand
		size uint64
	)
	if n := len(p.frames); n > 0 {
		f = &p.frames[n-1]
		goto next
	}
	if i >= len(buf) {
		return p.stop(i, i+1)
	}
	switch c = buf[i]; {
	case c&0xF0 == fixmap:
		k, size = i+1, uint64(c&15)
		goto openMap
	case c == map16, c == map32:
		goto item
	default:
		return p.notADictionary(buf, i)
	}

next: // the next item of f, which begins at i
	switch {
	case f.kind != dict.KindDict:
		goto value
	case f.value:
		goto keyed
	}

key:
	if f.left == 0 {
		goto closed
	}
	f.keyAt = uint32(i)
	if i >= len(buf) {
		return p.stop(i, i+1)
	}
	// The usual key is a short string in ASCII that this dictionary has not seen.
	if k = int(buf[i]) - fixstr; uint(k) < 32 && i+9 <= len(buf) {
		from := i + 1
		if k += from; k <= len(buf) && (asciiWord(buf, from, k) || ascii(buf, from, k)) &&
			(p.keys.AddNew(&f.keys, buf, from, k) || !p.keys.Add(&f.keys, buf, from, k)) {
			if p.b != nil {
				p.b.Text(from, k-from)
			}
			i = k
			goto keyEnd
		}
	}
	if c = buf[i]; c >= fixstr && c < null || c >= str8 && c <= str32 {
		if i = p.textKey(buf, i, f); i < 0 {
			return i
		}
		goto keyEnd
	}
	p.build(buf, f)
	goto item

keyEnd:
	f.left--
	f.n++
	f.value = true
	f.keyEnd = uint32(i)

keyed: // the value of a key
	if i >= len(buf) {
		return p.stop(i, i+1)
	}
	goto item

value: // an item of a list
	if f.left == 0 {
		goto closed
	}
	if i >= len(buf) {
		return p.stop(i, i+1)
	}

item:
	c = buf[i]
	k = i + 1
	switch {
	case c < fixmap:
		if uint64(c) > p.maxInt {
			return p.tooManyDigits(buf, i)
		}
		if p.b != nil {
			p.b.Int(int64(c))
		}
		goto itemEnd
	case c >= negative:
		if uint64(-int64(int8(c))) > p.maxInt {
			return p.tooManyDigits(buf, i)
		}
		if p.b != nil {
			p.b.Int(int64(int8(c)))
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
			return p.stop(i, k)
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
		if p.b != nil {
			p.b.Null()
		}
	case no, yes:
		if p.b != nil {
			p.b.Bool(c == yes)
		}
	case float32s, float64s:
		if p.b != nil {
			p.b.Float(floatOf(c, size))
		}
	case uint8s, uint16s, uint32s, uint64s:
		if size > p.maxInt {
			return p.tooManyDigits(buf, i)
		}
		switch {
		case p.b == nil:
		case size > math.MaxInt64:
			p.b.OwnInt(strconv.AppendUint(p.b.Own(), size, 10))
		default:
			p.b.Int(int64(size))
		}
	case int8s, int16s, int32s, int64s:
		v := extended(c, size)
		if v < 0 && uint64(-v) > p.maxInt || v > 0 && uint64(v) > p.maxInt {
			return p.tooManyDigits(buf, i)
		}
		if p.b != nil {
			p.b.Int(v)
		}
	case str8, str16, str32:
		goto text
	case bin8, bin16, bin32:
		if size > uint64(len(buf)-k) {
			return p.short(i, k, size)
		}
		if p.b != nil {
			p.b.Ref(dict.KindBytes, k, int(size))
		}
		k += int(size)
	case array16, array32:
		goto openArray
	case map16, map32:
		goto openMap
	case unused:
		return p.unexpected(buf, i, "a value")
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
	if f.value {
		f.value = false
		goto key
	}
	if f.kind == dict.KindDict {
		if !p.hash(buf, f, i) {
			return failed
		}
		goto keyEnd
	}
	f.n++
	f.left--
	goto value

text: // of size bytes from k on
	if size > uint64(len(buf)-k) {
		return p.short(i, k, size)
	}
	i = k
	k += int(size)
	if !asciiWord(buf, i, k) && !ascii(buf, i, k) && !utf8.Valid(buf[i:k]) {
		return p.badUTF8(buf, i, k)
	}
	if p.b != nil {
		p.b.Text(i, k-i)
	}
	goto itemEnd

openArray:
	if f = p.open(buf, i, k, dict.KindList, size); f == nil {
		return failed
	}
	i = k
	goto value

openMap:
	if f = p.open(buf, i, k, dict.KindDict, size); f == nil {
		return failed
	}
	i = k
	goto key

closed:
	p.keys.Close(&f.keys)
	if p.b != nil {
		p.b.Close(int(f.place), int(f.n))
	}
	p.frames = p.frames[:len(p.frames)-1]
	if len(p.frames) == 0 {
		return i
	}
	f = &p.frames[len(p.frames)-1]
	k = i
	goto itemEnd
}

// stop remembers to go on at i. need is how long the record is at least.
func (p *parser) stop(i, need int) int {
	p.pos = i
	if need > p.lim.RecordBytes {
		return p.tooLarge()
	}
	return incomplete
}

// short stops at i because of a body of size bytes from k on that has not come
// whole.
func (p *parser) short(i, k int, size uint64) int {
	return p.stop(i, k+int(min(size, math.MaxInt32)))
}

// open begins a container of kind k whose head, at i, ends at k and says that it has
// count items, or pairs. It returns nil where that is over a limit.
func (p *parser) open(buf []byte, i, k int, kind dict.Kind, count uint64) *frame {
	n := len(p.frames)
	if n >= p.lim.Depth {
		p.fail(buf, codec.TooDeep, i, fault.Levels(p.lim.Depth))
		return nil
	}
	items := count
	if kind == dict.KindDict {
		items *= 2
	}
	// Each item has a byte at least.
	if items > uint64(p.lim.RecordBytes-min(k, p.lim.RecordBytes)) {
		p.tooLarge()
		return nil
	}
	if p.items += int(items); p.items > p.lim.Items {
		p.fail(buf, codec.OverLimit, i, fault.Items(p.lim.Items))
		return nil
	}
	inKey := n > 0 && (p.frames[n-1].inKey || p.frames[n-1].kind == dict.KindDict && !p.frames[n-1].value)
	if inKey && kind == dict.KindList {
		kind = dict.KindTuple
	}
	if n < cap(p.frames) {
		p.frames = p.frames[:n+1]
	} else {
		p.frames = append(p.frames, frame{})
	}
	f := &p.frames[n]
	f.kind, f.inKey, f.value, f.n, f.left = kind, inKey, false, 0, uint32(count)
	p.keys.Open(&f.keys)
	if p.b != nil {
		f.place = uint32(p.b.Open(kind))
	}
	return f
}

// build begins to build f's next key.
func (p *parser) build(buf []byte, f *frame) {
	if depth := len(p.frames); p.b == nil || p.building == depth {
		p.scratch.Reset(buf)
		p.b, p.building = &p.scratch, depth
	}
	f.item = uint32(p.b.Len())
}

// hash adds the key of f that has been built and ends at end to f's keys. It returns
// false where that can't be one, or was there.
func (p *parser) hash(buf []byte, f *frame, end int) bool {
	f.keyEnd = uint32(end)
	v := p.b.At(int(f.item))
	if err := dict.Hashable(v); err != nil {
		p.unhashable(buf, f, err)
		return false
	}
	if key, ok := dict.AppendKey(p.keys.Own(), v); ok && p.keys.AddOther(&f.keys, buf, key) {
		p.duplicate(buf, f, v)
		return false
	}
	if p.building == len(p.frames) {
		p.b, p.building = nil, 0
	}
	return true
}

// textKey reads the string at i, a key of f.
func (p *parser) textKey(buf []byte, i int, f *frame) int {
	c := buf[i]
	k, size := i+1, uint64(c&31)
	if c >= null {
		if k += int(width[c-null]); k > len(buf) {
			return p.stop(i, k)
		}
		size = number(buf[i+1 : k])
	}
	if size > uint64(len(buf)-k) {
		return p.short(i, k, size)
	}
	end := k + int(size)
	if !utf8.Valid(buf[k:end]) {
		return p.badUTF8(buf, k, end)
	}
	if p.keys.Add(&f.keys, buf, k, end) {
		f.keyEnd = uint32(end)
		var b dict.Builder
		b.Reset(buf)
		b.Text(k, end-k)
		p.duplicate(buf, f, b.At(0))
		return failed
	}
	if p.b != nil {
		p.b.Text(k, end-k)
	}
	return end
}

// extension reads the rest of the extension at i: its code, at k, and size bytes.
func (p *parser) extension(buf []byte, i, k int, size uint64) int {
	if k >= len(buf) || size > uint64(len(buf)-k-1) {
		return p.short(i, k+1, size)
	}
	code, from := int8(buf[k]), k+1
	end := from + int(size)
	if p.b == nil {
		return end
	}
	if code == timestampCode {
		if t, ok := timestamp(buf[from:end]); ok {
			_ = p.b.DateTime(t) // in range
			return end
		}
	}
	at := p.b.OpenTagged(dict.MessagePackExt)
	p.b.Int(int64(code))
	p.b.Ref(dict.KindBytes, from, int(size))
	p.b.Close(at, 2)
	return end
}

const highs = 0x8080808080808080 // the highest bit of each byte

// asciiWord is ascii for at most eight bytes. It is small enough to be inlined.
func asciiWord(buf []byte, from, to int) bool {
	return to-from <= 8 && from+8 <= len(buf) &&
		binary.LittleEndian.Uint64(buf[from:])&highs&(1<<(8*uint(to-from))-1) == 0
}

// ascii reports whether buf[from:to] is sure to be ASCII. It looks at words, so it
// is not sure in the smallest of buffers.
func ascii(buf []byte, from, to int) bool {
	size := to - from
	if size <= 8 {
		return to >= 8 && binary.LittleEndian.Uint64(buf[to-8:])&(highs<<(64-8*uint(size))) == 0
	}
	w := binary.LittleEndian.Uint64(buf[to-8:])
	for ; size > 8; size -= 8 {
		w |= binary.LittleEndian.Uint64(buf[from:])
		from += 8
	}
	return w&highs == 0
}
