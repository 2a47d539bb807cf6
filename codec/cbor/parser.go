package cbor

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
	maxArg uint64        // the largest integer with Limits.Digits digits, or all
	b      *dict.Builder // nil: check only

	// Where the parser stands in the record. Offsets count from its first byte.
	pos    int  // everything before it has been read
	atKey  bool // and there, a key is to begin
	items  int
	chunks chunks
	frames []frame // the open containers
	keys   keyset.Set

	// A key, or a set's item, that is no plain string is built even where the parser
	// only checks: in scratch, which is b while building > 0, the depth of the
	// container whose key it is.
	scratch  dict.Builder
	building int

	text []byte // scratch: the string in chunks, a decimal's digits
	args [maxArgs]arg
	err  *codec.SyntaxError

	unneeded int // records in a row that did not need the memory that is held
}

// chunks are the string of indefinite length that is open, whose content so far
// is parser.text.
type chunks struct {
	open  bool
	major byte
	tag   uint64 // in front of it, or noTag
	at    int    // where its head stands, the tag's if there is one
}

const noTag = math.MaxUint64

// A frame is an open container.
type frame struct {
	kind       dict.Kind
	indefinite bool
	isDict     bool
	hashable   bool   // it is part of a key: lists are tuples, sets frozensets
	inKey      bool   // of a dictionary: a key is being read, other than a usual one
	total      uint32 // items, or pairs; of indefinite length: many
	left       uint32 // of them, those that have not begun; of a set or list, ended
	place      uint32 // what Builder.Close wants
	item       uint32 // the place of the key, or a set's item, that is being built
	keyAt      uint32 // where the last key begins
	keyEnd     uint32 // and ends
	keys       keyset.Frame
}

func (f *frame) isSet() bool { return f.kind == dict.KindSet || f.kind == dict.KindFrozenSet }

// n returns how many items, or keys, f has so far.
func (f *frame) n() int { return int(f.total - f.left) }

// limit sets the limits.
func (p *parser) limit(lim codec.Limits) {
	p.lim, p.maxArg = lim.Effective(), math.MaxUint64
	if p.lim.Digits < 20 {
		p.maxArg = 1
		for range p.lim.Digits {
			p.maxArg *= 10
		}
		p.maxArg--
	}
}

// reset makes p ready for the next record.
func (p *parser) reset() {
	p.pos, p.items, p.atKey, p.chunks.open = 0, 0, false, false
	p.frames = p.frames[:0]
	p.keys.Reset()
	if p.building > 0 {
		p.b, p.building = nil, 0
	}
}

// What functions that read return beside the end of what they have read.
const (
	incomplete = -1
	failed     = -2 // p.err says why
)

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
	if len(buf) > p.lim.RecordBytes {
		buf = buf[:p.lim.RecordBytes] // what needs more is too large
	}
	if len(p.frames) == 0 {
		i := p.start(buf, p.pos)
		if i < 0 {
			return i
		}
		p.pos, p.atKey = i, true
		if f := &p.frames[0]; p.fits() {
			var behindKey bool
			p.pos, behindKey = p.pairs(buf, i, f)
			if f.left == 0 && !behindKey && p.b == nil {
				return p.pos
			}
			p.atKey = !behindKey
		}
	}
	if p.building > 0 {
		p.b.Extend(buf)
	}
	return p.nested(buf)
}

// fits reports whether all integers of 64 bits are within Limits.Digits.
func (p *parser) fits() bool { return p.maxArg == math.MaxUint64 }

// nested goes on within the innermost container, from pos on.
func (p *parser) nested(buf []byte) int {
	var (
		i   = p.pos
		f   = &p.frames[len(p.frames)-1]
		c   byte
		arg uint64
		k   int // the end of what is in hand
	)
	if p.chunks.open {
		goto chunk
	}
	if f.isDict && !f.inKey && !p.atKey {
		goto keyed
	}
	p.atKey, f.inKey = false, false

next: // the next item of f, which begins at i, is no key's value
	if !f.isDict {
		goto value
	}

key:
	if p.fits() {
		var behindKey bool
		if i, behindKey = p.pairs(buf, i, f); behindKey {
			goto keyed
		}
	}
	if f.left == 0 {
		goto closed
	}
	if i >= len(buf) {
		p.atKey = true
		return p.stop(buf, i, i+1)
	}
	f.keyAt = uint32(i)
	// The usual key is a short string in ASCII that this dictionary has not seen.
	if k = int(buf[i]) - textString<<5; uint(k-1) < 23 && i+9 <= len(buf) {
		from, size := i+1, k
		w := binary.LittleEndian.Uint64(buf[from:])
		if size < 8 {
			w &= 1<<(8*uint(size)) - 1
		}
		k += from
		if k <= len(buf) && w&highs == 0 && (size <= 8 || ascii(buf, from+8, k)) && p.keys.AddWord(&f.keys, keyset.Hash(w, buf[k-1], size), from, size) {
			if p.b != nil {
				p.b.Text(from, size)
			}
			i = k
			f.left--
			f.keyEnd = uint32(i)
			goto keyed
		}
	}
	if buf[i] == brk && f.indefinite {
		i++
		goto closed
	}
	f.inKey = true
	if buf[i]>>5 == textString && buf[i]&31 != indefinite {
		if i = p.textKey(buf, i, f); i < 0 {
			return i
		}
		goto keyEnd
	}
	p.build(buf, f)
	goto item

keyEnd:
	f.inKey = false
	f.left--
	f.keyEnd = uint32(i)

keyed: // the value of a key
	if i >= len(buf) {
		return p.stop(buf, i, i+1)
	}
	goto item

value: // an item that is no key's
	if f.kind == dict.KindList && p.fits() {
		i = p.numbers(buf, i, f)
	}
	if f.left == 0 {
		goto closed
	}
	if i >= len(buf) {
		return p.stop(buf, i, i+1)
	}
	if f.kind >= dict.KindSet && f.isSet() && buf[i] != brk {
		p.build(buf, f)
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
			return p.short(buf, i, k, arg)
		}
		from := k
		k += int(arg)
		if arg <= 8 && from+8 <= len(buf) {
			if binary.LittleEndian.Uint64(buf[from:])&highs&(1<<(8*arg)-1) != 0 && !utf8.Valid(buf[from:k]) {
				return p.badUTF8(buf, from, k)
			}
		} else if !ascii(buf, from, k) && !utf8.Valid(buf[from:k]) {
			return p.badUTF8(buf, from, k)
		}
		if p.b != nil {
			p.b.Text(from, k-from)
		}
	case unsigned:
		if arg > p.maxArg {
			return p.tooManyDigits(buf, i)
		}
		if p.b != nil {
			p.buildInt(arg, false)
		}
	case negative:
		if arg >= p.maxArg && p.maxArg < math.MaxUint64 {
			return p.tooManyDigits(buf, i)
		}
		if p.b != nil {
			p.buildInt(arg, true)
		}
	case byteString:
		if arg > uint64(len(buf)-k) {
			if c&31 == indefinite {
				p.beginChunks(byteString, noTag, i)
				i = k
				goto chunk
			}
			return p.short(buf, i, k, arg)
		}
		if p.b != nil {
			p.b.Ref(dict.KindBytes, k, int(arg))
		}
		k += int(arg)
	case array:
		if f = p.open(buf, i, k, dict.KindList, arg, c); f == nil {
			return failed
		}
		i = k
		goto value
	case mapping:
		if f = p.open(buf, i, k, dict.KindDict, arg, c); f == nil {
			return failed
		}
		i = k
		goto key
	case tag:
		depth := len(p.frames)
		if k = p.tag(buf, i, k, arg); k < 0 {
			return k
		}
		i = k
		if p.chunks.open {
			goto chunk
		}
		if len(p.frames) > depth {
			f = &p.frames[depth]
			goto next
		}
	default:
		if c == brk {
			if f.indefinite && !f.isDict {
				i = k
				goto closed
			}
			return p.unexpected(buf, i, "an item")
		}
		if k = p.simple(buf, i, k, arg); k < 0 {
			return k
		}
	}
	i = k

itemEnd: // an item of f has ended
	if f.isDict {
		if !f.inKey {
			goto key
		}
		if !p.hash(buf, f, i) {
			return failed
		}
		goto keyEnd
	}
	if f.kind >= dict.KindSet && f.isSet() && !p.hash(buf, f, i) {
		return failed
	}
	f.left--
	goto value

chunk:
	if i = p.chunk(buf, i); i < 0 {
		return i
	}
	goto itemEnd

closed:
	if f.indefinite {
		if !p.count(uint64(f.n()), f.kind) {
			return p.fail(buf, codec.OverLimit, i, fault.Items(p.lim.Items))
		}
	}
	if f.isDict || f.isSet() {
		p.keys.Close(&f.keys)
	}
	if p.b != nil {
		p.b.Close(int(f.place), f.n())
	}
	p.frames = p.frames[:len(p.frames)-1]
	if len(p.frames) == 0 {
		return i
	}
	f = &p.frames[len(p.frames)-1]
	goto itemEnd
}

// start reads what stands before the dictionary's first key.
func (p *parser) start(buf []byte, i int) int {
	for {
		if i >= len(buf) {
			return p.stop(buf, i, i+1)
		}
		c := buf[i]
		if c>>5 == mapping && p.openUsual(int(c&31), len(buf)-i-1) {
			return i + 1
		}
		k, arg := p.argument(buf, i)
		switch {
		case k < 0:
			return k
		case c>>5 == mapping:
			if p.open(buf, i, k, dict.KindDict, arg, c) == nil {
				return failed
			}
			return k
		case c>>5 == tag && arg == selfDescribed:
			i = k
		case c>>5 == tag && arg == tagObject:
			if k = p.object(buf, i, k); k < 0 || len(p.frames) > 0 && p.frames[0].kind == dict.KindOrderedDict {
				return k
			}
			return p.notADictionary(buf, i)
		default:
			return p.notADictionary(buf, i)
		}
	}
}

// stop remembers to go on at i. need is how long the record is at least.
//
//go:noinline
func (p *parser) stop(buf []byte, i, need int) int {
	p.pos = i
	if need > p.lim.RecordBytes {
		return p.fail(buf, codec.TooLarge, p.lim.RecordBytes, fault.Bytes(p.lim.RecordBytes))
	}
	return incomplete
}

// short stops at i because of a body of size bytes from k on that has not come
// whole.
func (p *parser) short(buf []byte, i, k int, size uint64) int {
	return p.stop(buf, i, k+int(min(size, math.MaxInt32)))
}

// argument reads the head that begins at i and returns where it ends, incomplete or
// failed, and its argument. That of an indefinite length is the largest number.
func (p *parser) argument(buf []byte, i int) (k int, arg uint64) {
	k, arg, ok := readHead(buf, i)
	switch {
	case !ok:
		return p.unexpected(buf, i, "an item"), 0
	case k > len(buf):
		return p.stop(buf, i, k), 0
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

// open begins a container of kind k whose head, which begins with c and ends at k,
// says that it has count items, or pairs. It returns nil where that is over a limit.
func (p *parser) open(buf []byte, i, k int, kind dict.Kind, count uint64, c byte) *frame {
	n := len(p.frames)
	if n >= p.lim.Depth {
		return p.over(buf, codec.TooDeep, i)
	}
	endless := c&31 == indefinite
	if !endless {
		bytes := count
		if kind.IsDict() {
			bytes *= 2
		}
		// Each item has a byte at least.
		if count > math.MaxInt32 || bytes > uint64(p.lim.RecordBytes-k) {
			return p.over(buf, codec.TooLarge, i)
		}
		if !p.count(count, kind) {
			return p.over(buf, codec.OverLimit, i)
		}
	}
	hashable := n > 0 && (p.frames[n-1].hashable || p.frames[n-1].inKey || p.frames[n-1].isSet())
	if hashable {
		switch kind {
		case dict.KindList:
			kind = dict.KindTuple
		case dict.KindSet:
			kind = dict.KindFrozenSet
		}
	}
	if n == cap(p.frames) {
		p.grow()
	}
	p.frames = p.frames[:n+1]
	f := &p.frames[n]
	f.kind, f.indefinite, f.isDict, f.hashable, f.inKey = kind, endless, kind.IsDict(), hashable, false
	f.total, f.left = uint32(count), uint32(count)
	if f.isDict || f.isSet() {
		p.keys.Open(&f.keys)
	}
	if p.b != nil {
		f.place = uint32(p.buildOpen(kind))
	}
	return f
}

//go:noinline
func (p *parser) grow() { p.frames = append(p.frames, frame{})[:len(p.frames)] }

//go:noinline
func (p *parser) buildOpen(kind dict.Kind) int {
	if kind == dict.KindTagged {
		return p.b.OpenTagged(dict.CBORTag)
	}
	return p.b.Open(kind)
}

// over fails because of the container at i, which is over a limit. It returns nil.
//
//go:noinline
func (p *parser) over(buf []byte, code codec.Code, i int) *frame {
	switch code {
	case codec.TooDeep:
		p.fail(buf, code, i, fault.Levels(p.lim.Depth))
	case codec.TooLarge:
		p.fail(buf, code, p.lim.RecordBytes, fault.Bytes(p.lim.RecordBytes))
	default:
		p.fail(buf, code, i, fault.Items(p.lim.Items))
	}
	return nil
}

// count adds n items, or pairs, to those of the record and reports whether they
// are within the limit.
func (p *parser) count(n uint64, kind dict.Kind) bool {
	switch {
	case kind.IsDict():
		n *= 2
	case kind == dict.KindTagged:
		n = 0
	}
	p.items += int(n)
	return p.items <= p.lim.Items
}

// build begins to build f's next item, which must be hashable.
func (p *parser) build(buf []byte, f *frame) {
	if depth := len(p.frames); p.b == nil || p.building == depth {
		p.scratch.Reset(buf)
		p.b, p.building = &p.scratch, depth
	}
	f.item = uint32(p.b.Len())
}

// hash adds the item of f that has been built and ends at end to f's keys. It
// returns false where that can't be one, or was there.
func (p *parser) hash(buf []byte, f *frame, end int) bool {
	f.keyEnd = uint32(end)
	v := p.b.At(int(f.item))
	if err := dict.Hashable(v); err != nil {
		p.unhashable(buf, f, err)
		return false
	}
	twice := false
	if text, ok := v.TextBytes(); ok {
		twice = p.keys.AddOwn(&f.keys, buf, append(p.keys.Own(), text...))
	} else if key, ok := dict.AppendKey(p.keys.Own(), v); ok {
		twice = p.keys.AddOther(&f.keys, buf, key)
	}
	if twice {
		p.duplicate(buf, f, v)
		return false
	}
	if p.building == len(p.frames) {
		p.b, p.building = nil, 0
	}
	return true
}

// textKey reads the string of definite length at i, a key of f.
func (p *parser) textKey(buf []byte, i int, f *frame) int {
	k, size := p.argument(buf, i)
	if k < 0 {
		return k
	}
	if size > uint64(len(buf)-k) {
		return p.short(buf, i, k, size)
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

const highs = 0x8080808080808080

// ascii reports whether buf[from:to] is sure to be ASCII. It looks at words that end
// at to, so it is not sure in the smallest of buffers.
func ascii(buf []byte, from, to int) bool {
	if to < 8 {
		return false
	}
	w := binary.LittleEndian.Uint64(buf[to-8:])
	size := to - from
	if size < 8 {
		return w&(highs<<(64-8*uint(size))) == 0
	}
	for ; size > 8; size -= 8 {
		w |= binary.LittleEndian.Uint64(buf[from:])
		from += 8
	}
	return w&highs == 0
}

// buildInt adds arg, or if minus is set -1 - arg.
func (p *parser) buildInt(arg uint64, minus bool) {
	switch {
	case arg > math.MaxInt64 && minus:
		own := append(p.b.Own(), '-')
		if arg == math.MaxUint64 {
			p.b.OwnInt(append(own, "18446744073709551616"...))
			return
		}
		p.b.OwnInt(strconv.AppendUint(own, arg+1, 10))
	case arg > math.MaxInt64:
		p.b.OwnInt(strconv.AppendUint(p.b.Own(), arg, 10))
	case minus:
		p.b.Int(-1 - int64(arg))
	default:
		p.b.Int(int64(arg))
	}
}

// simple reads the rest of a simple value or float whose head, at i, ends at k.
func (p *parser) simple(buf []byte, i, k int, arg uint64) int {
	if v, ok := float(buf[i], arg); ok {
		if p.b != nil {
			p.b.Float(v)
		}
		return k
	}
	if k > i+1 && arg < 32 {
		return p.unexpected(buf, i, "a simple value in its short form")
	}
	if p.b == nil {
		return k
	}
	switch arg {
	case simpleFalse, simpleTrue:
		p.b.Bool(arg == simpleTrue)
	case simpleNull:
		p.b.Null()
	default:
		at := p.b.OpenTagged(dict.CBORSimple)
		p.b.Int(int64(arg))
		p.b.Null()
		p.b.Close(at, 2)
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
	p.text = p.text[:0]
}

// chunk reads on in the string of indefinite length, at whose next chunk i stands.
func (p *parser) chunk(buf []byte, i int) int {
	c := &p.chunks
	for {
		if i >= len(buf) {
			return p.stop(buf, i, i+1)
		}
		if buf[i] == brk {
			break
		}
		if buf[i]>>5 != c.major || buf[i]&31 == indefinite {
			return p.unexpected(buf, i, "a chunk of the string")
		}
		k, size := p.argument(buf, i)
		if k < 0 {
			return k
		}
		if size > uint64(len(buf)-k) {
			return p.short(buf, i, k, size)
		}
		from := k
		k += int(size)
		if c.major == textString && !utf8.Valid(buf[from:k]) {
			return p.badUTF8(buf, from, k)
		}
		p.text = append(p.text, buf[from:k]...)
		i = k
	}
	c.open = false
	switch {
	case c.tag != noTag:
		if !p.stringTag(buf, c.at, c.tag, p.text) {
			return failed
		}
	case p.b != nil && c.major == textString:
		p.b.OwnText(append(p.b.Own(), p.text...), false)
	case p.b != nil:
		p.b.OwnRef(dict.KindBytes, append(p.b.Own(), p.text...))
	}
	return i + 1
}
