package log

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
)

// A frame is what one commit writes: blocks, changes of states, or notes of the log
// itself. The package comment shows its layout.
type frame struct {
	size   int    // in the file, with padding
	seq    uint64 // without gaps
	synced uint64 // the last frame known to be synced when this one was written
	pos    uint64 // of the first block, or the next block's
	time   int64  // nanoseconds since 1970
	items  []item
	body   uint32 // checksum of everything after the heads of the blocks
}

// An item is one part of a frame.
type item struct {
	kind    byte
	data    []byte
	head    int    // how many bytes of data the header's checksum covers
	records uint64 // of a block
	bytes   uint64 // of its records as received
}

// The kinds of items.
const (
	kindBlock     = 1 + iota // a block in its layout
	kindRejected             // a block with rejections
	kindEntry                // a key of the states and its new value; no value deletes the key
	kindCarry                // the same, as set by an older frame
	kindFree                 // segments that are no longer needed
	kindClose                // the log was closed
	kindGone                 // the place of a trimmed block, in a rewritten segment
	kindHole                 // the place of something unreadable, in a rewritten segment
	kindRewritten            // segments that were rewritten into another file
	kindImported             // a block of another store, without its producer's state
	kinds
)

func (i *item) isBlock() bool {
	return i.kind == kindBlock || i.kind == kindRejected || i.kind == kindImported
}

// positions returns how many positions the item takes.
func (i *item) positions() uint64 {
	if i.isBlock() || i.kind == kindGone {
		return 1
	}
	return 0
}

// overhead returns each block's share of the bytes of the frame that belong to no block.
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

// blocks yields the frame's blocks and their positions.
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

// A draft is a frame to be written. Its place in the log is not known yet.
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

// addBlock adds the block that was appended to buf at from. The header's checksum covers
// its first head bytes.
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

// addEntry adds a key and its value. No value deletes the key.
func (d *draft) addEntry(key string, value []byte) {
	from := len(d.buf)
	d.buf = appendString(d.buf, key)
	d.buf = append(d.buf, value...)
	d.addItem(kindEntry, from)
}

// addItem adds the item that was appended to buf at from.
func (d *draft) addItem(kind byte, from int) {
	d.table = append(d.table, kind)
	d.table = binary.AppendUvarint(d.table, uint64(len(d.buf)-from))
	d.heads = append(d.heads, span{from, len(d.buf)})
}

// finish adds the table. Then size returns the length of the frame in a file.
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

// A place is the place of a frame in the log.
type place struct {
	seq, synced, pos uint64
	time             int64
}

// seal completes a finished frame with its place, at an offset of a segment.
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

// reseal moves a frame that was read to another segment and offset. Its number stays.
func reseal(b []byte, seed uint32, off int64, synced uint64) {
	binary.LittleEndian.PutUint32(b[40:], uint32(binary.LittleEndian.Uint64(b[16:])-synced))
	var f frame
	_ = f.decode(b, seed, off) // for its items; the checksum need not match
	sum := frameSum(seed, off, b)
	for i := range f.items {
		sum = crc32.Update(sum, castagnoli, f.items[i].data[:f.items[i].head])
	}
	binary.LittleEndian.PutUint32(b[4:], sum)
}

// frameSum returns the checksum of a frame's header and table.
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

// frameSize returns the length of the frame that seems to begin at b, at most limit, or 0
// if none does.
func frameSize(b []byte, limit int64) int {
	if len(b) < frameHeader {
		return 0
	}
	size := int64(binary.LittleEndian.Uint32(b))
	table, padding := int64(binary.LittleEndian.Uint32(b[12:])), int64(b[44])
	if size < frameHeader || size%frameAlign != 0 || size > limit || table < frameHeader || padding >= frameAlign || table > size-padding {
		return 0
	}
	return int(size)
}

// decode parses the frame b, which was read at an offset of a segment. The frame refers
// to b. decode verifies the header and the heads of the blocks; checkBody verifies the
// rest.
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

// checkBody returns an error if anything after the heads is damaged.
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

// A decoder reads numbers and strings. After an invalid one, it has only zero values.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.cut(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.cut(n)
	return v
}

// string reads what appendString wrote.
func (d *decoder) string() []byte {
	s, rest, ok := cutString(d.rest)
	if d.rest = rest; !ok {
		d.bad = true
	}
	return s
}

// cut removes n bytes; none means that they are invalid.
func (d *decoder) cut(n int) {
	if n <= 0 {
		d.bad, n = true, len(d.rest)
	}
	d.rest = d.rest[n:]
}

// cutString is the inverse of appendString.
func cutString(b []byte) (s, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}
