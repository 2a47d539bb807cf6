package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// An index describes the content of a segment, from which it is derived. It is sparse: it
// knows chunks, which are consecutive frames of chunkBytes or a little more, and how much
// of each topic lies in each chunk, and whose the blocks of each topic are.
type index struct {
	chunks []chunk
	topics map[string]*held
	last   store.Block // scratch
}

const chunkBytes = 64 << 10

// A chunk is the beginning of a chunk.
type chunk struct {
	off  int64
	pos  uint64 // of its first block
	time int64
}

// A held is a segment's content of one topic.
type held struct {
	first, last uint64 // positions of the first and the last block
	in          []share
	by          shares // the weight of the blocks
}

// A share is a chunk's content of one topic.
type share struct {
	chunk                  int
	blocks, records, bytes uint64
	size                   uint64 // in the file
}

// damagedTopic stands for what can't be read, which may be of any topic.
const damagedTopic = ""

func newIndex() *index { return &index{topics: map[string]*held{}} }

// add adds the frame at an offset.
func (x *index) add(off int64, f *frame) error {
	x.chunk(off, f.pos, f.time)
	overhead := f.overhead()
	for pos, it := range f.blocks() {
		if _, err := x.last.PeekHead(it.data[:it.head]); err != nil {
			return err
		}
		h := x.block(x.last.Topic, pos, it.records, it.bytes, overhead+uint64(len(it.data)))
		h.by.add(names.Owner(&x.last), weigh(len(it.data)))
	}
	return nil
}

// chunk notes that a frame begins, which may begin a chunk.
func (x *index) chunk(off int64, pos uint64, time int64) {
	if n := len(x.chunks); n == 0 || off-x.chunks[n-1].off >= chunkBytes {
		x.chunks = append(x.chunks, chunk{off, pos, time})
	}
}

// block adds a block of the last frame, and returns what is held of its topic.
func (x *index) block(topic string, pos, records, bytes, size uint64) *held {
	n := len(x.chunks) - 1
	h := x.topics[topic]
	if h == nil {
		h = &held{first: pos}
		x.topics[topic] = h
	}
	h.last = pos
	if k := len(h.in); k == 0 || h.in[k-1].chunk != n {
		h.in = append(h.in, share{chunk: n})
	}
	s := &h.in[len(h.in)-1]
	s.blocks++
	s.records += records
	s.bytes += bytes
	s.size += size
	return h
}

// damage notes that the segment is unreadable at an offset. The positions from from up to
// to may be lost.
func (x *index) damage(off int64, from, to uint64, time int64) {
	x.chunk(off, from, time)
	x.block(damagedTopic, from, 0, 0, 0).last = max(from, to-1)
}

// find returns the chunk of a position, or the first chunk if the position is before all.
func (x *index) find(pos uint64) int {
	return max(0, sort.Search(len(x.chunks), func(i int) bool { return x.chunks[i].pos > pos })-1)
}

// encode returns the content of the file of a segment's index.
func (x *index) encode(g *segment) []byte {
	b := []byte(indexStart)
	b = binary.LittleEndian.AppendUint64(b, g.Salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(g.Size))
	b = binary.AppendUvarint(b, uint64(len(x.chunks)))
	last := chunk{}
	for _, c := range x.chunks {
		b = binary.AppendUvarint(b, uint64(c.off-last.off))
		b = binary.AppendUvarint(b, c.pos-last.pos)
		b = binary.AppendVarint(b, c.time-last.time)
		last = c
	}
	names := slices.Sorted(maps.Keys(x.topics))
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		h := x.topics[name]
		b = appendString(b, name)
		b = binary.AppendUvarint(b, h.first)
		b = binary.AppendUvarint(b, h.last-h.first)
		b = binary.AppendUvarint(b, uint64(len(h.in)))
		at := 0
		for _, s := range h.in {
			b = binary.AppendUvarint(b, uint64(s.chunk-at))
			b = binary.AppendUvarint(b, s.blocks)
			b = binary.AppendUvarint(b, s.records)
			b = binary.AppendUvarint(b, s.bytes)
			b = binary.AppendUvarint(b, s.size)
			at = s.chunk
		}
		b = binary.AppendUvarint(b, uint64(len(h.by)))
		for _, o := range h.by {
			b = appendString(b, o.owner)
			b = binary.AppendUvarint(b, o.bytes)
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errIndex = errors.New("no valid index")

// decodeIndex is the inverse of encode. It refuses an index of another segment.
func decodeIndex(b []byte, g *segment) (*index, error) {
	const fixed = magicSize + 16
	if len(b) < fixed+crc32.Size || string(b[:magicSize]) != indexStart {
		return nil, errIndex
	}
	body, sum := b[:len(b)-crc32.Size], binary.LittleEndian.Uint32(b[len(b)-crc32.Size:])
	if crc32.Checksum(body, castagnoli) != sum || binary.LittleEndian.Uint64(b[magicSize:]) != g.Salt ||
		int64(binary.LittleEndian.Uint64(b[magicSize+8:])) != g.Size {
		return nil, errIndex
	}
	d := decoder{rest: body[fixed:]}
	x := newIndex()
	last := chunk{}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		last = chunk{last.off + int64(d.uvarint()), last.pos + d.uvarint(), last.time + d.varint()}
		x.chunks = append(x.chunks, last)
	}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		name := string(d.string())
		h := &held{first: d.uvarint()}
		h.last = h.first + d.uvarint()
		at := 0
		for k := d.uvarint(); k > 0 && !d.bad; k-- {
			at += int(d.uvarint())
			h.in = append(h.in, share{at, d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()})
			if at >= len(x.chunks) {
				return nil, errIndex
			}
		}
		for k := d.uvarint(); k > 0 && !d.bad; k-- {
			h.by = append(h.by, ownerShare{string(d.string()), d.uvarint()})
		}
		x.topics[name] = h
	}
	if d.bad || len(d.rest) > 0 {
		return nil, errIndex
	}
	return x, nil
}

// readAll returns the content of a file.
func readAll(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// withIndex calls do with the index of a segment. do must not change or keep it.
func (s *Store) withIndex(g *segment, do func(*index) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.live != nil {
		return do(g.live)
	}
	x, err := s.sealedIndex(g)
	if err != nil {
		return err
	}
	return do(x)
}

// sealedIndex returns the index of a sealed segment, from its file or, if that is missing
// or invalid, rebuilt.
func (s *Store) sealedIndex(g *segment) (*index, error) {
	if g.Lost != "" {
		x := newIndex()
		x.damage(0, g.Position, g.End, g.Time)
		return x, nil
	}
	if x := s.indexes.get(g); x != nil {
		return x, nil
	}
	name := s.path(fileName(g.Number, g.Revision, indexSuffix))
	b, err := readAll(s.fs, name)
	if err == nil {
		if x, err := decodeIndex(b, g); err == nil {
			s.indexes.put(g, x)
			return x, nil
		}
	}
	x, _, err := s.buildIndex(g)
	if err != nil {
		return nil, err
	}
	_ = s.writeIndex(g, x) // it is rebuilt if it is missing
	if s.freed(g, fs.ErrNotExist) {
		_ = s.fs.Remove(name) // the segment is gone
	}
	s.indexes.put(g, x)
	return x, nil
}

// buildIndex reads a sealed segment and returns its index, and how many parts of the
// segment can't be read. Blocks with a damaged body are in the index like all others, as
// they were before the damage.
func (s *Store) buildIndex(g *segment) (x *index, damages uint64, err error) {
	x = newIndex()
	sc, err := s.scan(g, g.Start, g.Size)
	if err != nil {
		return nil, 0, err
	}
	defer sc.close()
	sc.seq, sc.pos, sc.time = g.First, g.Position, g.Time
	for sc.next() {
		if d := sc.damage; d != nil {
			damages++
			if !d.known {
				x.damage(d.off, d.from, d.to, sc.time)
				continue
			}
		}
		if err := x.add(sc.off, &sc.frame); err != nil {
			x.damage(sc.off, sc.frame.pos, sc.frame.end(), sc.frame.time)
		}
	}
	return x, damages, sc.err
}

// writeIndex writes the index of a sealed segment into its file.
func (s *Store) writeIndex(g *segment, x *index) error {
	name := s.path(fileName(g.Number, g.Revision, indexSuffix))
	f, err := s.create(name + temporary)
	if err != nil {
		return err
	}
	if _, err := f.Write(x.encode(g)); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := s.fs.Rename(name+temporary, name); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// indexes is a cache of sealed segments' indexes.
type indexes struct {
	mu  sync.Mutex
	all []cached // the most recently used one is last
}

type cached struct {
	g *segment
	x *index
}

const maxIndexes = 16

func (c *indexes) get(g *segment) *index {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.all, func(e cached) bool { return e.g == g })
	if i < 0 {
		return nil
	}
	e := c.all[i]
	c.all = append(slices.Delete(c.all, i, i+1), e)
	return e.x
}

func (c *indexes) put(g *segment, x *index) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = slices.DeleteFunc(c.all, func(e cached) bool { return e.g == g })
	if len(c.all) >= maxIndexes {
		c.all = slices.Delete(c.all, 0, 1)
	}
	c.all = append(c.all, cached{g, x})
}
