package log

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A header is at the beginning of a segment's file. It is JSON, so that people can read
// it.
type header struct {
	Number     uint64 `json:"number"`  // of the segment
	Opening    uint64 `json:"opening"` // the segment with which the log was opened
	Salt       uint64 `json:"salt"`    // random; part of the frames' checksums
	Generation uint64 `json:"generation"`
	Log        string `json:"log"` // random, the same in all segments of a log and its copies
	Tag        string `json:"tag"` // of the positions

	// Base is the sequence number before the first frame of an opening's segment. The
	// first Again frames after it were written again: they were in an older segment, and
	// were not known to be synced.
	Base  uint64 `json:"base"`
	Again uint64 `json:"again,omitempty"`

	Synced   uint64   `json:"synced"`   // the last frame that was synced
	Position uint64   `json:"position"` // of the segment's first block, or lower
	Next     uint64   `json:"next"`     // all blocks before have lower positions
	Time     int64    `json:"time"`     // of the frame before
	Live     []sealed `json:"live,omitempty"`
	Damage   []Damage `json:"damage,omitempty"` // found, and not accepted yet
	Gaps     []gap    `json:"gaps,omitempty"`

	// Rewritten is set in a file that has replaced others. Such a header does not
	// describe an opening.
	Rewritten *rewriting `json:"rewritten,omitempty"`

	Previous *header `json:"previous,omitempty"` // of the segment before, of the same opening
	Start    int64   `json:"start,omitempty"`    // in Previous: where its frames begin
}

// A sealed describes a segment with older frames.
type sealed struct {
	Number   uint64 `json:"n"`
	Revision uint64 `json:"rev,omitempty"` // how often it was rewritten
	Salt     uint64 `json:"salt"`
	First    uint64 `json:"first"`          // sequence numbers
	Last     uint64 `json:"last,omitempty"` // 0 for the active segment
	Position uint64 `json:"pos"`            // of the first block
	End      uint64 `json:"end,omitempty"`  // after the last one
	Start    int64  `json:"start"`          // where the first frame stands
	Size     int64  `json:"size,omitempty"` // where the last frame ends
	Time     int64  `json:"time,omitempty"` // of the first frame
	Lost     string `json:"lost,omitempty"` // why nothing of it can be read
}

// A gap is a range of positions that was skipped, since it was not known which were used.
type gap struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// A Damage is something that was unreadable when the log was opened.
type Damage struct {
	From uint64 `json:"from,omitempty"` // positions; To is 0 if no block is lost
	To   uint64 `json:"to,omitempty"`
	Text string `json:"text"`

	// Known says that only records are lost, and their topic, producer and numbers are
	// known.
	Known bool `json:"known,omitempty"`
}

// headerGap is the alignment of the end of a header, so that no frame shares a page with
// one.
const headerGap = 4096

var errHeader = errors.New("no valid header")

// encode returns the header as it is at the beginning of a file.
func (h *header) encode() []byte {
	body, err := json.Marshal(h)
	if err != nil {
		panic(err) // it holds only numbers and strings
	}
	b := append([]byte(segmentStart), make([]byte, headerAt-magicSize)...)
	binary.LittleEndian.PutUint32(b[magicSize:], uint32(len(body)))
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[magicSize+4:], headerSum(b))
	return append(b, make([]byte, -len(b)&(headerGap-1))...)
}

// headerAt is the offset of a header's JSON.
const headerAt = magicSize + 4 + 4

// headerSum returns the checksum of a header: of the magic, and of the JSON.
func headerSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:magicSize], castagnoli), castagnoli, b[headerAt:])
}

// headerSize returns the length of a header without the zeros after it, or 0 if b can't
// be the beginning of one.
func headerSize(b []byte) int64 {
	if len(b) < headerAt {
		return 0
	}
	return headerAt + int64(binary.LittleEndian.Uint32(b[magicSize:]))
}

// validHeader reports whether a header's checksum is right, in whatever version.
func validHeader(b []byte) bool {
	return len(b) >= headerAt && headerSum(b) == binary.LittleEndian.Uint32(b[magicSize+4:])
}

// readHeader reads the header of a segment, and returns where the frames begin. In brief,
// it leaves out what the header says about other segments: most of it, which adds up in a
// large store.
func readHeader(f vfs.File, brief bool) (*header, int64, error) {
	b := make([]byte, headerGap)
	if n, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	} else if n < len(b) || string(b[:magicSize]) != segmentStart {
		return nil, 0, errHeader
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	size := headerSize(b)
	end := (size + headerGap - 1) &^ (headerGap - 1)
	if end > info.Size() {
		return nil, 0, errHeader
	}
	b = make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, 0, err
	}
	h := &header{}
	if !validHeader(b) {
		return nil, 0, errHeader
	}
	b = b[headerAt:]
	if before, _, ok := bytes.Cut(b, []byte(`,"live":[`)); ok && brief {
		b = append(before, '}')
	}
	if json.Unmarshal(b, h) != nil || h.Number == 0 {
		return nil, 0, errHeader
	}
	return h, end, nil
}

// seed returns the initial value of the checksums of a segment's frames.
func seed(number, salt uint64) uint32 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], number)
	binary.LittleEndian.PutUint64(b[8:], salt)
	return crc32.Checksum(b[:], castagnoli)
}

// revision returns how often the header's file was rewritten.
func (h *header) revision() uint64 {
	if h.Rewritten == nil {
		return 0
	}
	return h.Rewritten.Revision
}

// isTemporary reports whether a name is that of an unfinished file.
func isTemporary(name string) bool {
	name, ok := strings.CutSuffix(name, temporary)
	_, _, segment := parseName(name, segmentSuffix)
	_, _, index := parseName(name, indexSuffix)
	return ok && (segment || index)
}

const (
	segmentSuffix = ".seg"
	indexSuffix   = ".idx"
)

// fileName returns the name of a segment's file, or of its index.
func fileName(number, revision uint64, suffix string) string {
	if revision > 0 {
		return fmt.Sprintf("log-%010d-%d%s", number, revision, suffix)
	}
	return fmt.Sprintf("log-%010d%s", number, suffix)
}

// parseName is the inverse of fileName.
func parseName(name, suffix string) (number, revision uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, "log-")
	if !ok {
		return 0, 0, false
	}
	if digits, ok = strings.CutSuffix(digits, suffix); !ok {
		return 0, 0, false
	}
	digits, rev, _ := strings.Cut(digits, "-")
	number, _ = strconv.ParseUint(digits, 10, 64)
	revision, _ = strconv.ParseUint(rev, 10, 64)
	return number, revision, number > 0 && fileName(number, revision, suffix) == name
}

// A segment is a segment with frames, or the active segment's successor.
type segment struct {
	sealed // Last, End and Size are set when it is sealed

	seed uint32

	end  atomic.Uint64 // the position after the last block visible to readers
	size atomic.Int64  // the end of that block's frame

	mu   sync.RWMutex
	live *index // of the active segment, guarded by mu; nil once it is sealed

	// Of a sealed segment, guarded by Store.trimMu:
	weights []weight // nil until they are asked for
	stuck   int64    // wasted bytes that a rewriting could not free
	spoilt  bool     // it can't be rewritten

	// Of the active segment and its successor; these belong to the committer:
	header *header
	file   vfs.File
	room   int64   // where the allocated space ends
	zeros  *zeroer // of the successor
}

func newSegment(d sealed) *segment {
	g := &segment{sealed: d, seed: seed(d.Number, d.Salt)}
	g.end.Store(d.End)
	g.size.Store(d.Size)
	if d.Lost != "" {
		g.size.Store(max(d.Size, 1)) // so that a reader looks at it and reports the loss
	}
	return g
}

// isSealed reports whether the segment gets no more frames.
func (g *segment) isSealed() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.Last > 0
}

// name returns the name of the segment's file.
func (g *segment) name() string { return fileName(g.Number, g.Revision, segmentSuffix) }

// segments lists the segments with frames, in order. The last one is active.
type segments struct {
	mu  sync.RWMutex
	all []*segment // never changed in place
}

func (s *segments) list() []*segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all
}

func (s *segments) add(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all[:len(s.all):len(s.all)], g)
}

// after returns the first segment that ends after a position, or nil.
func (s *segments) after(pos uint64) *segment {
	all := s.list()
	i := sort.Search(len(all), func(i int) bool { return all[i].end.Load() > pos })
	if i == len(all) {
		return nil
	}
	return all[i]
}

// replace replaces consecutive segments by others.
func (s *segments) replace(gone []*segment, by ...*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []*segment
	for _, g := range s.all {
		if !slices.Contains(gone, g) {
			kept = append(kept, g)
			continue
		}
		kept, by = append(kept, by...), nil
	}
	s.all = kept
}

// freed reports whether err means that a segment's file is gone: everything in it is
// trimmed, or it was rewritten.
func (s *Store) freed(g *segment, err error) bool {
	return errors.Is(err, fs.ErrNotExist) && !slices.Contains(s.segments.list(), g)
}
