package client

import (
	"sync"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A segment holds consecutive records of one topic and format, as they are written to a
// connection.
//
//	data   record terminator record terminator …
//	ends                     ^                 ^
type segment struct {
	first uint64 // the number of the first record
	codec codec.Codec
	term  string    // after each record
	since time.Time // when the first record was added, if records expire
	data  []byte
	ends  []int

	settled int  // how many of the first records are settled
	busy    bool // a writer is using data
	gone    bool // it is no longer in the log

	waiters []waiting // for records that have no number yet, in order
}

// A waiting is a waiter for the record at an index.
type waiting struct {
	index int
	w     *waiter
}

const (
	fullSegment       = 64 << 10 // bytes at which a segment is full
	maxSegmentRecords = 8192     // records at which a segment is full
	keepSegment       = 256 << 10
)

var segments = sync.Pool{New: func() any { return new(segment) }}

func newSegment(first uint64, c codec.Codec) *segment {
	seg := segments.Get().(*segment)
	*seg = segment{first: first, codec: c, term: c.Terminator(), data: seg.data[:0], ends: seg.ends[:0], waiters: seg.waiters[:0]}
	return seg
}

// free returns a segment to the pool. Nobody may use its bytes any more.
func (seg *segment) free() {
	if cap(seg.data) <= keepSegment {
		segments.Put(seg)
	}
}

// drop removes a segment from the log.
func (seg *segment) drop() {
	if seg.gone = true; !seg.busy {
		seg.free()
	}
}

// release ends a writer's use of a segment.
func (seg *segment) release() {
	if seg.busy = false; seg.gone {
		seg.free()
	}
}

// takes reports whether another record of a format fits in.
func (seg *segment) takes(c codec.Codec) bool {
	return len(seg.data) < fullSegment && len(seg.ends) < maxSegmentRecords && seg.codec.Name() == c.Name()
}

// seal ends the record whose bytes were appended to data.
func (seg *segment) seal() {
	seg.data = append(seg.data, seg.term...)
	seg.ends = append(seg.ends, len(seg.data))
}

// next returns the number after the last record.
func (seg *segment) next() uint64 { return seg.first + uint64(len(seg.ends)) }

// end returns the offset of the end of the first n records.
func (seg *segment) end(n int) int {
	if n == 0 {
		return 0
	}
	return seg.ends[n-1]
}

// record returns the record at an index.
func (seg *segment) record(i int) []byte {
	end := seg.ends[i] - len(seg.term)
	return seg.data[seg.end(i):end:end]
}

// sum returns the CRC-32C of the record at an index.
func (seg *segment) sum(i int) uint32 { return dialect.SumOf(seg.record(i)).CRC }
