package log

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

// appending is an append in progress, and the scratch of the next one.
type appending struct {
	commit
	s     *Store
	draft draft

	began   time.Time
	entered bool
	results []store.Result
	own     []store.Result // of an append that was submitted
	bad     []bool         // blocks that break a rule of their own
	numbers []store.Numbering
	turns   []*producer // of the numbered blocks' producers, held by the append
	sweeps  []int       // in numbers: producers of which records were rejected
	keys    []byte

	done   func([]store.Result) // of an append that was submitted
	landed func(error)          // lands it
}

func (s *Store) newAppending() any {
	a := &appending{s: s}
	a.commit.draft = &a.draft
	a.turn = make(chan bool, 1)
	a.landed = func(err error) {
		defer func() { // the caller is somebody else's append, on which all others wait
			if p := recover(); p != nil {
				s.fail(fmt.Errorf("a panic where a submitted append was settled: %v\n%s", p, debug.Stack()))
			}
		}()
		a.end(true, err)
		a.done(a.results)
		a.release()
	}
	return a
}

// maxScratch is how much scratch memory an append leaves to the next one, in bytes.
const maxScratch = 2 << 20

// maxAppend bounds the records of one append, in bytes.
const maxAppend = 1<<31 - 1

// Append implements [store.Log].
func (s *Store) Append(ctx context.Context, blocks ...*store.Block) []store.Result {
	a := s.appendings.Get().(*appending)
	a.results = make([]store.Result, len(blocks))
	writes, err := a.begin(ctx, blocks)
	if writes {
		err = s.commit(&a.commit)
	}
	results := a.end(writes, err)
	a.release()
	return results
}

// Submit implements [store.Submitter].
func (s *Store) Submit(ctx context.Context, done func([]store.Result), blocks ...*store.Block) {
	a := s.appendings.Get().(*appending)
	a.own = slices.Grow(a.own[:0], len(blocks))[:len(blocks)]
	clear(a.own)
	a.results = a.own
	writes, err := a.begin(ctx, blocks)
	if !writes {
		done(a.end(false, err))
		a.release()
		return
	}
	a.done, a.land = done, a.landed
	s.submit(&a.commit)
}

// begin decides what is to be written, and reports whether anything is. It sets the results
// of blocks that are not written.
func (a *appending) begin(ctx context.Context, blocks []*store.Block) (writes bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.end(false, nil)
			panic(p)
		}
	}()
	s, results := a.s, a.results
	size, notes := 0, true
	for i, b := range blocks {
		results[i].Err = b.Check()
		a.bad = append(a.bad, results[i].Err != nil)
		size += len(b.Data)
		notes = notes && isNote(b.Topic)
	}
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	a.entered = true
	if f := s.failed(); f != nil {
		return false, f
	}
	a.began = time.Now()
	if size > maxAppend {
		return false, fmt.Errorf("store: an append of %d bytes, want at most %d", size, maxAppend)
	}
	for i, b := range blocks {
		if results[i].Err == nil {
			results[i].Err = s.mayHave(b)
		}
	}
	if err := a.acquire(ctx, s, blocks, results); err != nil {
		return false, err
	}
	store.Decide(blocks, results, a.numbers, s.opts.Now())
	if !slices.ContainsFunc(results, func(r store.Result) bool { return r.Err == nil }) {
		return false, nil
	}
	if !notes {
		if err := s.reserve.check(size); err != nil {
			return false, err
		}
	}
	a.encode(s, blocks, results)
	a.vital = notes
	return true, nil
}

// end completes the results, and lets others use the producers. wrote says that the append
// was written, unless there is an error.
func (a *appending) end(wrote bool, err error) []store.Result {
	s := a.s
	switch {
	case err != nil:
		for i := range a.results {
			// A duplicate of a block of this very append is not durable yet.
			if !a.bad[i] && !errors.As(a.results[i].Err, new(*store.LimitError)) {
				a.results[i] = store.Result{Err: err}
			}
		}
	case wrote:
		s.measured.appends.Add(int64(a.ended.Sub(a.began)))
		for i := range a.numbers {
			a.turns[i].state = a.numbers[i].After
		}
		for i, b := range a.blocks {
			s.measured.blocks.Add(int64(b.bytes))
			a.results[b.index].Position = s.position(a.place.pos + uint64(i))
		}
		for _, i := range a.sweeps {
			s.sweep(a.numbers[i].Producer, a.turns[i])
		}
	}
	for i, p := range a.turns {
		s.releaseTurn(a.numbers[i].Producer, p)
	}
	if a.entered {
		s.leave()
	}
	return a.results
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

// release gives the scratch back, unless a group may still use it.
func (a *appending) release() {
	s := a.s
	if s.failed() != nil || cap(a.draft.buf) > maxScratch || cap(a.blocks) > 1024 {
		return
	}
	clear(a.numbers)
	clear(a.turns)
	clear(a.blocks)
	clear(a.changes)
	a.numbers, a.turns, a.blocks, a.changes = a.numbers[:0], a.turns[:0], a.blocks[:0], a.changes[:0]
	a.bad, a.sweeps, a.entered = a.bad[:0], a.sweeps[:0], false
	a.results, a.done, a.land, a.err = nil, nil, nil, nil
	s.appendings.Put(a)
}

// encode makes the frame and the changes of the producers' states.
func (a *appending) encode(s *Store, blocks []*store.Block, results []store.Result) {
	d := &a.draft
	d.reset()
	a.keys = a.keys[:0]
	for i, b := range blocks {
		if results[i].Err != nil {
			continue
		}
		kind := byte(kindBlock)
		if len(b.Rejected) > 0 {
			kind = kindRejected
			a.changes = append(a.changes, change{key: rejectedKey(b.Producer, b.First), data: store.AppendRejections(nil, b.Rejected)})
			a.sweeps = append(a.sweeps, slices.IndexFunc(a.numbers, func(n store.Numbering) bool { return n.Producer == b.Producer }))
		}
		s.draftBlock(&a.commit, kind, b, i)
	}
	a.finish()
	for i := range a.numbers {
		if n := &a.numbers[i]; n.After.Next != n.Before.Next {
			from := len(a.keys)
			a.keys = appendState(a.keys, n.After)
			a.changes = append(a.changes, change{key: a.turns[i].key, data: a.keys[from:len(a.keys):len(a.keys)]})
		}
	}
}
