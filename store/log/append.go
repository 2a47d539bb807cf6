package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// appending is the scratch of one append.
type appending struct {
	commit
	draft draft

	numbers []store.Numbering
	turns   []*producer // of the numbered blocks' producers, held by the append
	head    store.Block
	keys    []byte
}

func newAppending() any {
	a := &appending{}
	a.commit.draft = &a.draft
	a.turn = make(chan bool, 1)
	return a
}

// maxScratch is how much scratch memory an append leaves to the next one, in bytes.
const maxScratch = 2 << 20

// maxAppend bounds the records of one append, in bytes.
const maxAppend = 1<<31 - 1

// Append implements [store.Log].
func (s *Store) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	results := make([]store.Result, len(blocks))
	if err := s.append(ctx, blocks, results); err != nil {
		for i, b := range blocks {
			// A duplicate of a block of this very append is not durable yet.
			if b.Check() == nil && !errors.As(results[i].Err, new(*store.LimitError)) {
				results[i] = store.Result{Err: err}
			}
		}
	}
	return results
}

// append sets the result of each block, or returns the error for all whose result has
// none.
func (s *Store) append(ctx context.Context, blocks []*store.Block, results []store.Result) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if f := s.failed(); f != nil {
		return f
	}
	began := time.Now()
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
	store.Decide(blocks, results, a.numbers, s.opts.Now())
	if !slices.ContainsFunc(results, func(r store.Result) bool { return r.Err == nil }) {
		return nil
	}
	if !notes {
		if err := s.reserve.check(size); err != nil {
			return err
		}
	}
	if err := a.encode(s, blocks, results); err != nil {
		return err
	}
	a.vital = notes
	if err := s.commit(&a.commit); err != nil {
		return err
	}
	s.measured.appends.Add(int64(time.Since(began)))
	for i := range a.numbers {
		a.turns[i].state = a.numbers[i].After
	}
	for i, b := range a.blocks {
		s.measured.blocks.Add(int64(b.bytes))
		results[b.index].Position = s.position(a.place.pos + uint64(i))
		if rejected := blocks[b.index]; len(rejected.Rejected) > 0 {
			s.sweep(rejected.Producer, a.turnOf(rejected.Producer))
		}
	}
	return nil
}

// isNote reports whether a topic holds the process's own notes. They are always accepted;
// otherwise nothing could be trimmed when the disk is full.
func isNote(topic string) bool { return strings.HasPrefix(topic, "_") && topic != store.Rejected }

// acquire waits for the turns of all producers. All appends take them in the same order,
// so that none wait for each other in a circle.
func (a *appending) acquire(ctx context.Context, s *Store, blocks []*store.Block, results []store.Result) error {
	for i, b := range blocks {
		if results[i].Err == nil && !b.Producer.IsZero() &&
			!slices.ContainsFunc(a.numbers, func(n store.Numbering) bool { return n.Producer == b.Producer }) {
			a.numbers = append(a.numbers, store.Numbering{Producer: b.Producer})
		}
	}
	slices.SortFunc(a.numbers, func(x, y store.Numbering) int { return x.Producer.Compare(y.Producer) })
	for i := range a.numbers {
		p, err := s.acquire(ctx, a.numbers[i].Producer)
		if err != nil {
			a.numbers = a.numbers[:i]
			return err
		}
		a.numbers[i].Before = p.state
		a.turns = append(a.turns, p)
	}
	return nil
}

// turnOf returns the producer of a block.
func (a *appending) turnOf(name store.Producer) *producer {
	return a.turns[slices.IndexFunc(a.numbers, func(n store.Numbering) bool { return n.Producer == name })]
}

// release gives the turns back, and the scratch unless a group may still use it.
func (a *appending) release(s *Store) {
	for i, p := range a.turns {
		s.releaseTurn(a.numbers[i].Producer, p)
	}
	if s.failed() != nil || cap(a.draft.buf) > maxScratch || cap(a.blocks) > 1024 {
		return
	}
	clear(a.numbers)
	clear(a.turns)
	clear(a.blocks)
	clear(a.changes)
	a.numbers, a.turns, a.blocks, a.changes = a.numbers[:0], a.turns[:0], a.blocks[:0], a.changes[:0]
	a.err = nil
	s.appendings.Put(a)
}

// encode makes the frame and the changes of the producers' states.
func (a *appending) encode(s *Store, blocks []*store.Block, results []store.Result) error {
	d := &a.draft
	d.reset()
	a.keys = a.keys[:0]
	for i, b := range blocks {
		if results[i].Err != nil {
			continue
		}
		from, t := len(d.buf), s.topic(b.Topic)
		d.buf = b.AppendEncoded(slices.Grow(d.buf, b.MaxEncoded()), &t.shrinkage)
		head, err := a.head.PeekHead(d.buf[from:])
		if err != nil {
			return err
		}
		kind := byte(kindBlock)
		if len(b.Rejected) > 0 {
			kind = kindRejected
			a.changes = append(a.changes, change{key: rejectedKey(b.Producer, b.First), data: store.AppendRejections(nil, b.Rejected)})
		}
		d.addBlock(kind, from, head, uint64(len(b.Lengths)), uint64(len(b.Data)))
		a.blocks = append(a.blocks, drafted{
			t, names.Owner(b), i, uint64(len(b.Lengths)), uint64(len(b.Data)), uint64(len(d.buf) - from), weigh(len(d.buf) - from),
		})
	}
	a.finish()
	for i := range a.numbers {
		if n := &a.numbers[i]; n.After.Next != n.Before.Next {
			from := len(a.keys)
			a.keys = appendState(a.keys, n.After)
			a.changes = append(a.changes, change{key: a.turns[i].key, data: a.keys[from:len(a.keys):len(a.keys)]})
		}
	}
	return nil
}
