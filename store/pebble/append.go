package pebble

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dictwire/dictwire/store"
)

// A draft is a block that is about to be written.
type draft struct {
	topic          *topic
	index          int // of the block in the call
	records, bytes uint32
	from, to       int    // the encoded block, in appending.bytes
	encoded        []byte // the same, once all are
}

// appending is the scratch of one append.
type appending struct {
	commit

	numbers []store.Numbering
	held    []*producer // of numbers, whose turns the append holds
	bytes   []byte
}

func newAppending() any { return &appending{commit: commit{done: make(chan struct{}, 1)}} }

// maxScratch is how much scratch an append leaves to the next one, in bytes.
const maxScratch = 2 << 20

// maxAppend bounds the records of one append, in bytes.
const maxAppend = 2<<30 - 1

// Append implements [store.Log].
func (s *Store) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	results := make([]store.Result, len(blocks))
	if err := s.append(ctx, blocks, results); err != nil {
		for i, b := range blocks {
			// What was answered from this append's own blocks is not durable.
			if b.Check() == nil && !errors.As(results[i].Err, new(*store.LimitError)) {
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
	size, notes := 0, true
	for i, b := range blocks {
		if results[i].Err = b.Check(); results[i].Err == nil {
			results[i].Err = s.mayHave(b)
		}
		size += len(b.Data)
		notes = notes && isNote(b.Topic)
	}
	if size > maxAppend {
		return fmt.Errorf("store: an append of %d bytes, want at most %d", size, maxAppend)
	}
	a := s.appendings.Get().(*appending)
	defer a.release(s)
	if err := a.acquire(ctx, s, blocks, results); err != nil {
		return err
	}
	if err := a.draft(s, blocks, results); err != nil || len(a.drafts) == 0 {
		return err
	}
	if !notes {
		if err := s.reserve.check(size); err != nil {
			return err
		}
	}
	if err := a.encode(s, blocks); err != nil {
		return err
	}
	if err := s.commit(&a.commit, false); err != nil {
		return err
	}
	for i, n := range a.numbers {
		a.held[i].state = n.After
	}
	for i, d := range a.drafts {
		results[d.index].Position = s.position(a.first + uint64(i))
	}
	return nil
}

// isNote reports whether a topic holds what the process notes for itself: without
// that, nothing may be trimmed where the disk is full.
func isNote(topic string) bool { return strings.HasPrefix(topic, "_") && topic != store.Rejected }

// acquire waits for the turns of all producers, in one order for all appends, so
// that none waits for another in a circle.
func (a *appending) acquire(ctx context.Context, s *Store, blocks []*store.Block, results []store.Result) error {
	names := make([]store.Producer, 0, 1)
	for i, b := range blocks {
		if results[i].Err == nil && !b.Producer.IsZero() && !slices.Contains(names, b.Producer) {
			names = append(names, b.Producer)
		}
	}
	slices.SortFunc(names, store.Producer.Compare)
	for _, name := range names {
		p, err := s.acquire(ctx, name)
		if err != nil {
			return err
		}
		a.numbers = append(a.numbers, store.Numbering{Producer: name, Before: p.state})
		a.held = append(a.held, p)
	}
	return nil
}

// release gives the turns back, and the scratch, unless the committer may have
// it still.
func (a *appending) release(s *Store) {
	for i, p := range a.held {
		s.release(a.numbers[i].Producer, p)
	}
	if s.failed() != nil || cap(a.bytes) > maxScratch || cap(a.drafts) > 1024 {
		return
	}
	if a.beside != nil {
		_ = a.beside.Close() // gives its memory back
	}
	clear(a.numbers)
	clear(a.held)
	clear(a.drafts)
	a.numbers, a.held, a.drafts, a.bytes = a.numbers[:0], a.held[:0], a.drafts[:0], a.bytes[:0]
	a.beside, a.err = nil, nil
	s.appendings.Put(a)
}

// draft decides which blocks are to be written.
func (a *appending) draft(s *Store, blocks []*store.Block, results []store.Result) error {
	store.Decide(blocks, results, a.numbers, s.opts.Now())
	for i, b := range blocks {
		if results[i].Err != nil {
			continue
		}
		t, err := s.topic(b)
		if err != nil {
			return err
		}
		a.drafts = append(a.drafts, draft{
			topic: t, index: i, records: uint32(len(b.Lengths)), bytes: uint32(len(b.Data)),
		})
	}
	return nil
}

// encode encodes the blocks, and what of their producers is written with them.
func (a *appending) encode(s *Store, blocks []*store.Block) error {
	for i := range a.drafts {
		d := &a.drafts[i]
		b := blocks[d.index]
		d.from = len(a.bytes)
		a.bytes = b.AppendEncoded(slices.Grow(a.bytes, b.MaxEncoded()))
		d.to = len(a.bytes)
	}
	for i := range a.drafts {
		d := &a.drafts[i]
		d.encoded = a.bytes[d.from:d.to]
	}
	a.size = len(a.bytes)
	if len(a.numbers) == 0 {
		return nil
	}
	a.beside = s.db.NewBatch()
	for _, d := range a.drafts {
		b := blocks[d.index]
		if len(b.Rejected) == 0 {
			continue
		}
		i := slices.IndexFunc(a.numbers, func(n store.Numbering) bool { return n.Producer == b.Producer })
		if err := a.held[i].reject(a.beside, b, a.numbers[i].After.Next); err != nil {
			return err
		}
	}
	for _, n := range a.numbers {
		if n.After.Next == n.Before.Next {
			continue
		}
		// The room behind the blocks is scratch.
		key := appendProducerKey(a.bytes[a.size:], n.Producer)
		value := appendState(key[len(key):], n.After)
		if err := a.beside.Set(key, value, nil); err != nil {
			return err
		}
	}
	return nil
}
