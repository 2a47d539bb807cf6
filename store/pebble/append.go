package pebble

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/dictwire/dictwire/store"
)

// A draft is a block that is about to be written.
type draft struct {
	block    *store.Block
	index    int // of the block in the call
	topic    *topic
	envelope envelope
	from, to int // the encoded block, in appending.encoded
}

// appending is the scratch of one append.
type appending struct {
	writers []writer
	drafts  []draft
	encoded []byte
}

// A writer is a producer in the course of an append, which holds its turn.
type writer struct {
	name  store.Producer
	p     *producer
	state store.ProducerState // behind the append
}

var appendings = sync.Pool{New: func() any { return new(appending) }}

// maxScratch is how much scratch an append leaves to the next one, in bytes.
const maxScratch = 2 << 20

// maxAppend bounds the records of one append, in bytes.
const maxAppend = 2 << 30

// Append implements [store.Log].
func (s *Store) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	results := make([]store.Result, len(blocks))
	if err := s.append(ctx, blocks, results); err != nil {
		for i, b := range blocks {
			// What was answered from this append's own blocks is not durable.
			if b.Check() == nil {
				results[i] = store.Result{Err: err}
			}
		}
	}
	return results
}

// append answers for each block in results, or for all that have no error there
// with its own.
func (s *Store) append(ctx context.Context, blocks []*store.Block, results []store.Result) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if f := s.failed(); f != nil {
		return f
	}
	size := 0
	for i, b := range blocks {
		results[i].Err = b.Check()
		size += len(b.Data)
	}
	if size > maxAppend {
		return fmt.Errorf("store: an append of %d bytes, want at most %d", size, maxAppend)
	}
	a := appendings.Get().(*appending)
	defer a.recycle()
	defer a.release(s)
	if err := a.acquire(ctx, s, blocks, results); err != nil {
		return err
	}
	if err := a.draft(s, blocks, results); err != nil || len(a.drafts) == 0 {
		return err
	}
	if err := s.reserve.check(size); err != nil {
		return err
	}
	a.encode()
	first, stamp := s.order.give(s.opts.Now(), a.drafts)
	if err := a.write(s, first, stamp); err != nil {
		return err
	}
	for _, w := range a.writers {
		w.p.state = w.state
	}
	for i, d := range a.drafts {
		results[d.index].Position = s.position(first + uint64(i))
	}
	s.order.settle(first, len(a.drafts))
	return nil
}

// acquire waits for the turns of all producers, in one order for all appends, so
// that none waits for another in a circle.
func (a *appending) acquire(ctx context.Context, s *Store, blocks []*store.Block, results []store.Result) error {
	names := make([]store.Producer, 0, 1)
	for i, b := range blocks {
		if results[i].Err == nil && !b.Producer.IsZero() && !slices.Contains(names, b.Producer) {
			names = append(names, b.Producer)
		}
	}
	slices.SortFunc(names, func(x, y store.Producer) int {
		return cmp.Or(cmp.Compare(x.Principal, y.Principal), cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Name, y.Name))
	})
	for _, name := range names {
		p, err := s.acquire(ctx, name)
		if err != nil {
			return err
		}
		a.writers = append(a.writers, writer{name: name, p: p, state: p.state})
	}
	return nil
}

func (a *appending) release(s *Store) {
	for _, w := range a.writers {
		s.release(w.name, w.p)
	}
}

func (a *appending) recycle() {
	clear(a.writers)
	clear(a.drafts)
	a.writers, a.drafts, a.encoded = a.writers[:0], a.drafts[:0], a.encoded[:0]
	if cap(a.encoded) <= maxScratch && cap(a.drafts) <= 1024 {
		appendings.Put(a)
	}
}

// draft decides which blocks are to be written.
func (a *appending) draft(s *Store, blocks []*store.Block, results []store.Result) error {
	now := s.opts.Now()
	for i, b := range blocks {
		if results[i].Err != nil {
			continue
		}
		t, err := s.topic(b.Topic)
		if err != nil {
			return err
		}
		if !b.Producer.IsZero() {
			j := slices.IndexFunc(a.writers, func(w writer) bool { return w.name == b.Producer })
			w := &a.writers[j]
			w.state, results[i].Err = w.state.Append(b, now)
		}
		if results[i].Err == nil {
			a.drafts = append(a.drafts, draft{
				block: b, index: i, topic: t,
				envelope: envelope{records: uint32(len(b.Lengths)), bytes: uint32(len(b.Data))},
			})
		}
	}
	return nil
}

// encode encodes the blocks.
func (a *appending) encode() {
	for i := range a.drafts {
		d := &a.drafts[i]
		d.from = len(a.encoded)
		a.encoded = d.block.AppendEncoded(slices.Grow(a.encoded, d.block.MaxEncoded()))
		d.to = len(a.encoded)
	}
}

// write writes all in one batch, and returns when it is durable.
func (a *appending) write(s *Store, first uint64, stamp int64) error {
	batch := s.db.NewBatchWithSize(len(a.encoded) + 256*len(a.drafts) + 256)
	defer batch.Close()
	if err := a.fill(batch, first, stamp); err != nil {
		// The positions are given, and nothing will be there.
		s.fail(err)
		return s.failed()
	}
	return s.write(batch, s.sync)
}

func (a *appending) fill(batch *engine.Batch, first uint64, stamp int64) error {
	for i := range a.drafts {
		d := &a.drafts[i]
		at := first + uint64(i)
		encoded := a.encoded[d.from:d.to]
		op := batch.SetDeferred(len(d.topic.name)+10, envelopeSize+len(encoded))
		appendBlockKey(op.Key[:0], d.topic.name, at)
		copy(op.Value[envelopeSize:], encoded)
		d.envelope.append(op.Value[:0])
		if err := op.Finish(); err != nil {
			return err
		}
		if err := batch.Set(orderKey(at), appendPlace(nil, stamp, d.topic.name), nil); err != nil {
			return err
		}
		for j := range a.writers {
			if w := &a.writers[j]; w.name == d.block.Producer {
				if err := w.p.number(batch, d.block, w.state.Next); err != nil {
					return err
				}
			}
		}
	}
	for _, w := range a.writers {
		if w.state.Next == w.p.state.Next {
			continue
		}
		if err := batch.Set(producerKey(w.name), encodeState(w.state), nil); err != nil {
			return err
		}
	}
	return nil
}
