package dictwire

import (
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A chunk is records of one topic and format in a row, as they are written to a
// connection.
//
//	data   record terminator record terminator …
//	ends                     ^                 ^
type chunk struct {
	first uint64 // the number of the first record
	codec codec.Codec
	term  string // behind each record
	data  []byte
	ends  []int

	settled int  // records at the beginning that are settled
	busy    bool // a writer holds data
	gone    bool // it is no longer in the log

	waiters []waiting // for records that have no number yet, in order
}

// A waiting waiter waits for the record of an index.
type waiting struct {
	index int
	w     *waiter
}

const (
	fullChunk  = 64 << 10 // bytes at which the next chunk begins
	chunkItems = 8192     // records, likewise
	keepChunk  = 256 << 10
)

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func newChunk(first uint64, c codec.Codec) *chunk {
	ch := chunks.Get().(*chunk)
	*ch = chunk{first: first, codec: c, term: c.Terminator(), data: ch.data[:0], ends: ch.ends[:0], waiters: ch.waiters[:0]}
	return ch
}

// free gives a chunk back. Nobody may hold its bytes any more.
func (ch *chunk) free() {
	if cap(ch.data) <= keepChunk {
		chunks.Put(ch)
	}
}

// drop takes a chunk out of the log.
func (ch *chunk) drop() {
	if ch.gone = true; !ch.busy {
		ch.free()
	}
}

// release ends a writer's hold.
func (ch *chunk) release() {
	if ch.busy = false; ch.gone {
		ch.free()
	}
}

// takes reports whether a record of a format can be added.
func (ch *chunk) takes(c codec.Codec) bool {
	return len(ch.data) < fullChunk && len(ch.ends) < chunkItems && ch.codec.Name() == c.Name()
}

// seal takes the bytes that were appended to data as a record.
func (ch *chunk) seal() {
	ch.data = append(ch.data, ch.term...)
	ch.ends = append(ch.ends, len(ch.data))
}

// next is the number behind the last record.
func (ch *chunk) next() uint64 { return ch.first + uint64(len(ch.ends)) }

// end returns where the first n records end.
func (ch *chunk) end(n int) int {
	if n == 0 {
		return 0
	}
	return ch.ends[n-1]
}

// record returns the record of an index.
func (ch *chunk) record(i int) []byte {
	end := ch.ends[i] - len(ch.term)
	return ch.data[ch.end(i):end:end]
}

// sum returns the CRC-32C of the record of an index.
func (ch *chunk) sum(i int) uint32 { return dialect.SumOf(ch.record(i)).CRC }
