package log

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
)

// A frame is what one commit writes: blocks, changes of states, or notes of the
// log itself. The package comment draws it.
type frame struct {
	size   int    // in the file, with padding
	seq    uint64 // without gaps
	synced uint64 // what was known to be synced when the frame was written
	pos    uint64 // of the first block, or of the next one where there is none
	time   int64  // nanoseconds since 1970
	items  []item
	body   uint32 // the sum of what follows the heads of blocks
}

// An item is one part of a frame.
type item struct {
	kind    byte
	data    []byte
	head    int    // so much of data is summed with the frame's header
	records uint64 // of a block
	bytes   uint64 // of its records, as they were received
}

// The kinds of items.
const (
	kindBlock     = 1 + iota // a block in its layout
	kindRejected             // a block with rejections
	kindEntry                // a key of the states and its new value; none deletes it
	kindCarry                // the same, as it was set by an older frame
	kindFree                 // segments that are not needed any more
	kindClose                // the log was closed
	kindGone                 // a block that was trimmed, in a segment that was rewritten
	kindHole                 // what could not be read when the segment was rewritten
	kindRewritten            // segments of which another file has taken the place
	kinds
)

func (i *item) isBlock() bool { return i.kind == kindBlock || i.kind == kindRejected }

// positions returns how many positions the item takes.
func (i *item) positions() uint64 {
	if i.isBlock() || i.kind == kindGone {
		return 1
	}
	return 0
}

// overhead returns how many bytes of the frame each of its blocks has a share in.
func (f *frame) overhead() uint64 {
	n, size := 0, f.size
	for i := range f.items {
		size -= len(f.items[i].data)
		if f.items[i].isBlock() {
			n++
		}
	}
	return uint64(size / max(n, 1))
}

// blocks yields the blocks that are there, with their positions.
func (f *frame) blocks() iter.Seq2[uint64, *item] {
	return func(yield func(uint64, *item) bool) {
		pos := f.pos
		for i := range f.items {
			it := &f.items[i]
			if it.isBlock() && !yield(pos, it) {
				return
			}
			pos += it.positions()
		}
	}
}

// end returns the position after the frame's last block.
func (f *frame) end() uint64 {
	pos := f.pos
	for i := range f.items {
		pos += f.items[i].positions()
	}
	return pos
}

const (
	frameHeader = 48
	frameAlign  = 8
	maxFrame    = 1<<32 - frameAlign
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A draft is a frame that is about to be written. Its place in the log is not
// known yet.
type draft struct {
	buf    []byte // header, items
	table  []byte
	heads  []span // of the blocks, in buf
	blocks int
	body   uint32
}

type span struct{ from, to int }

func (d *draft) reset() {
	d.buf = append(d.buf[:0], make([]byte, frameHeader)...)
	d.table, d.heads, d.blocks, d.body = d.table[:0], d.heads[:0], 0, 0
}

// addBlock adds what encode appends: a block in its layout, of which the first
// head bytes are summed with the frame's header.
func (d *draft) addBlock(kind byte, from, head int, records, bytes uint64) {
	size := len(d.buf) - from
	d.table = append(d.table, kind)
	d.table = binary.AppendUvarint(d.table, uint64(size))
	d.table = binary.AppendUvarint(d.table, uint64(head))
	d.table = binary.AppendUvarint(d.table, records)
	d.table = binary.AppendUvarint(d.table, bytes)
	d.heads = append(d.heads, span{from, from + head})
	d.body = crc32.Update(d.body, castagnoli, d.buf[from+head:])
	d.blocks++
}

// addEntry adds a key and its value; none deletes it.
func (d *draft) addEntry(key string, value []byte) {
	from := len(d.buf)
	d.buf = appendString(d.buf, key)
	d.buf = append(d.buf, value...)
	d.addItem(kindEntry, from)
}

// addItem adds what stands in buf from a place on.
func (d *draft) addItem(kind byte, from int) {
	d.table = append(d.table, kind)
	d.table = binary.AppendUvarint(d.table, uint64(len(d.buf)-from))
	d.heads = append(d.heads, span{from, len(d.buf)})
}

// finish adds the table. size then returns how long the frame is in a file.
func (d *draft) finish() {
	tableAt := len(d.buf)
	d.buf = append(d.buf, d.table...)
	padding := -len(d.buf) & (frameAlign - 1)
	d.buf = append(d.buf, make([]byte, padding)...)
	b := d.buf
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint32(b[8:], d.body)
	binary.LittleEndian.PutUint32(b[12:], uint32(tableAt))
	b[44] = byte(padding)
}

func (d *draft) size() int { return len(d.buf) }

// A place is where a frame stands.
type place struct {
	seq, synced, pos uint64
	time             int64
}

// seal gives a finished frame its place, in a segment at an offset.
func (d *draft) seal(seed uint32, off int64, p place) []byte {
	b := d.buf
	binary.LittleEndian.PutUint64(b[16:], p.seq)
	binary.LittleEndian.PutUint32(b[40:], uint32(p.seq-p.synced))
	binary.LittleEndian.PutUint64(b[24:], p.pos)
	binary.LittleEndian.PutUint64(b[32:], uint64(p.time))
	sum := frameSum(seed, off, b)
	for _, h := range d.heads {
		sum = crc32.Update(sum, castagnoli, b[h.from:h.to])
	}
	binary.LittleEndian.PutUint32(b[4:], sum)
	return b
}

// reseal gives a whole frame that was read another place, with its own number.
func reseal(b []byte, seed uint32, off int64, synced uint64) {
	binary.LittleEndian.PutUint32(b[40:], uint32(binary.LittleEndian.Uint64(b[16:])-synced))
	var f frame
	_ = f.decode(b, seed, off) // finds the items, whatever the sum is
	sum := frameSum(seed, off, b)
	for i := range f.items {
		sum = crc32.Update(sum, castagnoli, f.items[i].data[:f.items[i].head])
	}
	binary.LittleEndian.PutUint32(b[4:], sum)
}

// frameSum sums the header and the table of a frame.
func frameSum(seed uint32, off int64, b []byte) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(off))
	sum := crc32.Update(seed, castagnoli, at[:])
	sum = crc32.Update(sum, castagnoli, b[:4])
	sum = crc32.Update(sum, castagnoli, b[8:frameHeader])
	return crc32.Update(sum, castagnoli, b[binary.LittleEndian.Uint32(b[12:]):])
}

var (
	errFrame = errors.New("no valid frame")
	errBody  = errors.New("the records of a frame are damaged")
)

// frameSize returns how long the frame is that seems to begin at an offset, at
// most limit bytes; 0 where none does.
func frameSize(b []byte, limit int64) int {
	if len(b) < frameHeader {
		return 0
	}
	size := int64(binary.LittleEndian.Uint32(b))
	table := int64(binary.LittleEndian.Uint32(b[12:]))
	if size < frameHeader || size%frameAlign != 0 || size > limit || table < frameHeader || table > size || b[44] >= frameAlign {
		return 0
	}
	return int(size)
}

// decode makes f the frame that b is, which stands at an offset of a segment.
// The frame refers to b. It checks the header and the heads, see checkBody.
func (f *frame) decode(b []byte, seed uint32, off int64) error {
	if frameSize(b, int64(len(b))) != len(b) {
		return errFrame
	}
	*f = frame{
		size: len(b),
		seq:  binary.LittleEndian.Uint64(b[16:]),
		pos:  binary.LittleEndian.Uint64(b[24:]),
		time: int64(binary.LittleEndian.Uint64(b[32:])),
		body: binary.LittleEndian.Uint32(b[8:]), items: f.items[:0],
	}
	f.synced = f.seq - uint64(binary.LittleEndian.Uint32(b[40:]))
	tableAt := int(binary.LittleEndian.Uint32(b[12:]))
	table := b[tableAt : len(b)-int(b[44])]
	sum := frameSum(seed, off, b)
	at := frameHeader
	number := func() int {
		v, n := binary.Uvarint(table)
		if n <= 0 || v > maxFrame {
			table = nil
			return -1
		}
		table = table[n:]
		return int(v)
	}
	for len(table) > 0 {
		i := item{kind: table[0]}
		table = table[1:]
		size := number()
		i.head = size
		if i.kind == 0 || i.kind >= kinds || size < 0 || size > tableAt-at {
			return errFrame
		}
		if i.isBlock() {
			i.head = number()
			records, bytes := number(), number()
			if i.head < 0 || i.head > size || records <= 0 || bytes <= 0 {
				return errFrame
			}
			i.records, i.bytes = uint64(records), uint64(bytes)
		}
		i.data = b[at : at+size : at+size]
		at += size
		sum = crc32.Update(sum, castagnoli, i.data[:i.head])
		f.items = append(f.items, i)
	}
	if at != tableAt || sum != binary.LittleEndian.Uint32(b[4:]) {
		return errFrame
	}
	return nil
}

// checkBody returns an error where what follows the heads is damaged.
func (f *frame) checkBody() error {
	sum := uint32(0)
	for i := range f.items {
		if f.items[i].isBlock() {
			sum = crc32.Update(sum, castagnoli, f.items[i].data[f.items[i].head:])
		}
	}
	if sum != f.body {
		return errBody
	}
	return nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// cutString is the inverse of appendString.
func cutString(b []byte) (s, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}
