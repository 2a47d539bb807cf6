package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

const (
	// aheadBytes of records may be on their way through a filter, and those of one more
	// block, so that nobody waits for a round trip.
	aheadBytes = 128 << 10
	chunkBytes = 32 << 10 // of records that are sent at once, or one record
	chunkCost  = 512      // bytes of memory beside its records

	// madeDepth bounds what a filter makes: what is made of a record obeys the limits of
	// one, within a dictionary of its own.
	madeDepth = 129
)

// A filtered reader gives what a filter makes of records. One goroutine reads the store and
// sends to the filter, ahead of the other, which takes what is made and gives it out.
type filtered struct {
	dialect.Filtering
	codecs map[string]codec.Codec
	held   dialect.Room  // for the records that are on their way, with the store's reader
	every  time.Duration // progress is told at least
}

// A chunk is records of a block on their way through a filter, or what a store says between
// blocks.
type chunk struct {
	store.ReadBatch       // of which the block has no records
	err             error // in their place
	lengths         []uint32
	data            []byte
	cost            int64
}

// parts yields what the filter makes of blocks, and ends the filter.
func (f *filtered) parts(ctx context.Context, give *converter, blocks func(context.Context) iter.Seq2[store.ReadBatch, error], yield func(dialect.Part, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	var (
		ahead  = semaphore.NewWeighted(aheadBytes)
		chunks = make(chan *chunk, aheadBytes/chunkCost)
		reads  sync.WaitGroup
	)
	reads.Go(func() {
		defer close(chunks)
		f.read(ctx, blocks(ctx), ahead, chunks)
	})
	defer reads.Wait()
	defer f.Filter.Close() // which a Send may wait for
	defer cancel()
	told := time.Now()
	for c := range chunks {
		if c.Block == nil || c.err != nil {
			told = time.Now()
			if !yield(dialect.Part{ReadBatch: c.ReadBatch}, c.err) {
				return
			}
			continue
		}
		given, more := f.give(ctx, c, give, yield)
		if !more {
			return
		}
		ahead.Release(c.cost)
		switch now := time.Now(); {
		case given:
			told = now
		case f.every > 0 && now.Sub(told) >= f.every:
			told = now
			if !yield(dialect.Part{ReadBatch: store.ReadBatch{At: c.Next, Next: c.Next, Time: c.Time}}, nil) {
				return
			}
		}
		if len(chunks) == 0 { // it is about to wait
			give.room.Want(ctx, 0)
		}
	}
	if err := context.Cause(ctx); err != nil { // there may be more
		yield(dialect.Part{}, err)
	}
}

// read sends what the store has to the filter.
func (f *filtered) read(ctx context.Context, blocks iter.Seq2[store.ReadBatch, error], ahead *semaphore.Weighted, chunks chan<- *chunk) {
	defer f.held.Keep(0)
	put := func(c *chunk) bool {
		select {
		case chunks <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for b, err := range blocks {
		if err != nil || b.Block == nil {
			if ahead.TryAcquire(aheadBytes) { // nothing is on its way
				f.held.Keep(0)
				ahead.Release(aheadBytes)
			}
			if !put(&chunk{ReadBatch: b, err: err}) {
				return
			}
			continue
		}
		for c := range chunksOf(b) {
			c.cost = min(aheadBytes, int64(chunkCost+len(c.data)+lengthCost*len(c.lengths)))
			if ahead.Acquire(ctx, c.cost) != nil {
				return
			}
			if err := f.held.Need(ctx, aheadBytes+int64(len(c.data))); err != nil {
				put(&chunk{ReadBatch: c.ReadBatch, err: err})
				return
			}
			c.lengths, c.data = slices.Clone(c.lengths), slices.Clone(c.data) // the block is the store's
			if !put(c) || f.Filter.Send(b.Block.Codec, c.lengths, c.data) != nil {
				return // who receives has the error
			}
		}
	}
}

// chunksOf yields the records of a block in chunks, which refer to its memory.
func chunksOf(b store.ReadBatch) iter.Seq[*chunk] {
	return func(yield func(*chunk) bool) {
		block := *b.Block
		block.Lengths, block.Data, block.Times = nil, nil, slices.Clone(block.Times)
		lengths, data := b.Block.Lengths, b.Block.Data
		for _, n := range lengths[:b.At.Index] {
			data = data[n:]
		}
		for at := b.At; int(at.Index) < len(lengths); {
			c := &chunk{ReadBatch: store.ReadBatch{At: at, Next: at, Time: b.Time, Block: &block}}
			size := 0
			for _, n := range lengths[at.Index:] {
				if size > 0 && size+int(n) > chunkBytes {
					break
				}
				size += int(n)
				c.Next.Index++
			}
			c.lengths, c.data, data = lengths[at.Index:c.Next.Index], data[:size], data[size:]
			at = c.Next
			if int(at.Index) == len(lengths) {
				c.Next = b.Next
			}
			if !yield(c) {
				return
			}
		}
	}
}

// give yields what the filter makes of a chunk, and reports whether that is anything, and
// whether more is wanted.
func (f *filtered) give(ctx context.Context, c *chunk, to *converter, yield func(dialect.Part, error) bool) (given, more bool) {
	defer to.forget()
	to.form, to.data, to.lengths, to.indexes = to.forms[0], to.data[:0], to.lengths[:0], to.indexes[:0]
	first, end, data := c.At.Index, c.Next, c.data
	part := func() bool {
		given = given || len(to.lengths) > 0
		more := yield(dialect.Part{ReadBatch: c.ReadBatch, Format: to.form.Format, Lengths: to.lengths, Indexes: to.indexes, Data: to.data}, nil)
		c.At = c.Next
		to.data, to.lengths, to.indexes = to.data[:0], to.lengths[:0], to.indexes[:0]
		return more
	}
	for i, n := range c.lengths {
		index := first + uint32(i)
		record := data[:n]
		data = data[n:]
		if c.Next = end; i < len(c.lengths)-1 {
			c.Next = store.Position{Tag: c.At.Tag, Block: c.At.Block, Index: index + 1}
		}
		made, err := f.Filter.Receive()
		if err != nil {
			yield(dialect.Part{ReadBatch: c.ReadBatch}, faultOfFilter(ctx, store.Position{Tag: c.At.Tag, Block: c.At.Block, Index: index}, err))
			return given, false
		}
		for build := range f.builders(ctx, to, c, index, record, made) {
			for room := false; !room; {
				before := len(to.data)
				if room, err = to.convertOne(ctx, build.bytes, build.build); err != nil {
					yield(dialect.Part{ReadBatch: c.ReadBatch}, faultOfConversion(c.ReadBatch, index, err))
					return given, false
				}
				if grown := len(to.data) - before; grown > 0 {
					to.lengths, to.indexes = append(to.lengths, uint32(grown)), append(to.indexes, index)
				}
				if (!room || len(to.data) >= fullPart) && !part() {
					return given, false
				}
			}
		}
	}
	return given, part()
}

// A builder appends to what is converted one thing that was made of some bytes.
type builder struct {
	bytes int
	build func() ([]byte, error)
}

// builders yields what appends each thing that was made of a record.
func (f *filtered) builders(ctx context.Context, to *converter, c *chunk, index uint32, record []byte, made dialect.Filtered) iter.Seq[builder] {
	return func(yield func(builder) bool) {
		if made.Failed != "" {
			yield(builder{len(made.Failed), func() ([]byte, error) { return f.Failed(to.data, &c.ReadBatch, index, made.Failed) }})
			return
		}
		for _, one := range made.Results {
			text, limits, form := one.JSON, codec.Limits{}, to.form.Append
			build := func() ([]byte, error) { return to.decode(ctx, json.Codec{}, limits, text, &c.ReadBatch, index, form) }
			switch one.Kind {
			case dialect.Selected:
				text = record
				build = func() ([]byte, error) { return to.build(ctx, f.codecs[c.Block.Codec], record, &c.ReadBatch, index) }
			case dialect.Dictionary:
			default:
				text, limits = slices.Concat([]byte(`{"":`), one.JSON, []byte(`}`)), codec.Limits{RecordBytes: -1, Depth: madeDepth}
				form = func(dst []byte, b *store.ReadBatch, index uint32, d *dict.Dict) ([]byte, error) {
					v, _ := d.Get("")
					return f.Value(dst, b, index, v)
				}
			}
			if !yield(builder{len(text), build}) {
				return
			}
		}
	}
}

// faultOfFilter returns the fault of a filter that has ended at a record.
func faultOfFilter(ctx context.Context, at store.Position, err error) error {
	var f *fault.Error
	if ctx.Err() != nil || !errors.As(err, &f) {
		return cmp.Or(context.Cause(ctx), err)
	}
	told := *f
	told.Text = fmt.Sprintf("the record at %v: %s", at, f.Text)
	return &told
}
