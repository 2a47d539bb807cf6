package disk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/dictwire/dictwire/spool"

	"github.com/dictwire/dictwire/store"
)

// only reads a topic's records, and does not follow.
func (s *Spool) only(topic string) store.ReadOptions {
	return store.ReadOptions{Topics: []string{topic}, Producer: s.producer(topic)}
}

// Read implements [spool.Spool]. It ends with an error: the cause of ctx; one that wraps
// store.ErrUnavailable if the spool is closed; or a *spool.GapError that wraps a
// *store.DamageError.
func (s *Spool) Read(ctx context.Context, topic string, from uint64) iter.Seq2[spool.Batch, error] {
	return func(yield func(spool.Batch, error) bool) {
		err := s.read(ctx, topic, from, func(b spool.Batch) bool { return yield(b, nil) })
		if err != nil {
			yield(spool.Batch{}, fmt.Errorf("spool: read %s: %w", topic, err))
		}
	}
}

func (s *Spool) read(ctx context.Context, topic string, from uint64, yield func(spool.Batch) bool) error {
	begin, err := s.find(ctx, topic, from)
	if err != nil {
		return err
	}
	o := s.only(topic)
	o.Follow, o.Progress = true, time.Hour
	var records [][]byte
	want := uint64(0) // the next block's first number, or 0 if unknown
	for b, err := range s.store.Read(ctx, begin.at, o) {
		if trimmed := (*store.TrimmedError)(nil); errors.As(err, &trimmed) {
			want = 0 // settled records may be gone
			continue
		}
		if damage := (*store.DamageError)(nil); errors.As(err, &damage) {
			want, err = 0, s.gap(ctx, topic, from, damage)
		}
		if err != nil {
			return err
		}
		if b.Block == nil {
			continue
		}
		first := b.Block.First
		if want != 0 && first != want {
			return fmt.Errorf("record %d follows %d", first, want-1)
		}
		want = first + uint64(len(b.Block.Lengths))
		if want <= from {
			continue
		}
		first = max(first, from)
		from = want
		records = records[:0]
		for _, r := range b.Block.Records(uint32(first - b.Block.First)) {
			records = append(records, r)
		}
		if !yield(spool.Batch{First: first, Format: b.Block.Codec, Records: records}) {
			return nil
		}
	}
	return nil
}

// gap returns the records of a topic, from a number on, that a damaged range held, or nil if it
// held none.
func (s *Spool) gap(ctx context.Context, topic string, from uint64, d *store.DamageError) error {
	s.mu.Lock()
	to := uint64(0) // the number after the last one that is known to have been stored
	if t := s.topics[topic]; t != nil {
		to = t.after()
	}
	s.mu.Unlock()
	next, ok, err := s.firstFrom(ctx, topic, d.To)
	if ok {
		to = next.first
	}
	if err != nil || to <= from {
		return err
	}
	return &spool.GapError{From: from, To: to, Err: d}
}

// A stored is a block of a topic: its position, and the numbers of its records.
type stored struct {
	at, behind store.Position
	first, end uint64
}

// find returns the last block of a topic whose first number is at most number, or the zero
// value if there is none. It is a binary search, since the first numbers of a topic's blocks
// grow with their positions.
func (s *Spool) find(ctx context.Context, topic string, number uint64) (b stored, err error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return b, err
	}
	low, high := uint64(0), head.Block // b is at low; the result is at low or between low and high
	for low+1 < high {
		middle := low + (high-low)/2
		next, ok, err := s.firstFrom(ctx, topic, store.Position{Tag: head.Tag, Block: middle})
		switch {
		case err != nil:
			return b, err
		case !ok || next.first > number:
			high = middle
		default:
			low, b = next.at.Block, next
		}
	}
	return b, nil
}

// firstFrom returns the first block of a topic from a position on, or false if there is none.
func (s *Spool) firstFrom(ctx context.Context, topic string, from store.Position) (b stored, ok bool, err error) {
	for batch, err := range s.store.Read(ctx, from, s.only(topic)) {
		if damage, trimmed := (*store.DamageError)(nil), (*store.TrimmedError)(nil); errors.As(err, &damage) || errors.As(err, &trimmed) {
			continue // the next block has higher numbers than the missing ones
		}
		if err != nil {
			return b, false, err
		}
		if batch.Block != nil {
			first := batch.Block.First
			return stored{batch.At, batch.Next, first, first + uint64(len(batch.Block.Lengths))}, true, nil
		}
	}
	return b, false, nil
}
