package storecopy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/dictwire/dictwire/store"
)

// compare reads both stores from their beginnings on and compares all blocks. On the way
// it finds out where the cursors stand in the copy.
func (c *copying) compare(ctx context.Context) error {
	head, err := c.to.Head(ctx)
	if err != nil {
		return err
	}
	theirs, err := trims(ctx, c.to, head.Tag)
	if err != nil {
		return err
	}
	m := &mover{head: head, from: c.trims, to: theirs}
	if m.rest, err = c.from.Cursors(ctx); err != nil {
		return err
	}
	if !slices.EqualFunc(c.trims, theirs, func(a, b trimmed) bool { return a.topic == b.topic }) {
		return fmt.Errorf("the topics of the target are trimmed otherwise: %w", ErrUsed)
	}
	slices.SortStableFunc(m.rest, func(a, b store.SavedCursor) int { return a.Position.Compare(b.Position) })

	copies, stop := iter.Pull2(blocks(ctx, c.to, head.Tag))
	defer stop()
	topics := map[string]*Topic{}
	var mine, its []byte
	for b, err := range blocks(ctx, c.from, c.tag) {
		if err != nil {
			return fmt.Errorf("the source: %w", err)
		}
		copied, err, ok := copies()
		if err != nil {
			return fmt.Errorf("the target: %w", err)
		}
		if !ok {
			return fmt.Errorf("the target ends before %v of the source: %w", b.At, ErrUsed)
		}
		mine, its = b.Block.AppendEncoded(mine[:0], nil), copied.Block.AppendEncoded(its[:0], nil)
		sum := sha256.Sum256(mine)
		if sum != sha256.Sum256(its) {
			return fmt.Errorf("the block at %v of the source is not that at %v of the target: %w", b.At, copied.At, ErrUsed)
		}
		m.pass(b.At.Block, copied.At.Block)
		t := topics[b.Block.Topic]
		if t == nil {
			t = &Topic{Name: strings.Clone(b.Block.Topic)}
			topics[t.Name] = t
		}
		t.Blocks++
		t.Records += uint64(len(b.Block.Lengths))
		t.Bytes += uint64(len(b.Block.Data))
		t.Digest = sha256.Sum256(append(t.Digest[:], sum[:]...))
		c.passed(len(b.Block.Lengths))
	}
	if copied, err, ok := copies(); ok {
		return cmp.Or(err, fmt.Errorf("the target has %v beyond the source: %w", copied.At, ErrUsed))
	}
	for _, t := range c.trims { // also those that hold nothing any more
		if topics[t.topic] == nil {
			topics[t.topic] = &Topic{Name: t.topic}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		c.report.Topics = append(c.report.Topics, *topics[name])
	}
	c.moved = m.end()
	return nil
}

// blocks yields all blocks of a store.
func blocks(ctx context.Context, s store.Log, tag string) iter.Seq2[store.ReadBatch, error] {
	return func(yield func(store.ReadBatch, error) bool) {
		for b, err := range s.Read(ctx, beginning(tag), store.ReadOptions{}) {
			if errors.As(err, new(*store.TrimmedError)) || err == nil && b.Block == nil {
				continue
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// A mover finds the positions of cursors in a copy. It is told of the blocks of both stores,
// in order; a cursor goes where the first one is that it had before it, be it trimmed.
type mover struct {
	head     store.Position // of the copy
	from, to []trimmed
	rest     []store.SavedCursor // by their positions
	moved    []store.SavedCursor
}

// pass says that a block of the source stands at a place in the copy.
func (m *mover) pass(from, to uint64) {
	for len(m.from) > 0 && m.from[0].last < from {
		m.place(m.from[0].last, m.to[0].last)
		m.from, m.to = m.from[1:], m.to[1:]
	}
	m.place(from, to)
}

func (m *mover) place(from, to uint64) {
	for len(m.rest) > 0 && m.rest[0].Position.Block <= from {
		c := m.rest[0]
		was := c.Position
		if c.Position = (store.Position{Tag: m.head.Tag, Block: to}); was.Block == from {
			c.Position.Index = was.Index
		}
		m.moved, m.rest = append(m.moved, c), m.rest[1:]
	}
}

// end returns the cursors in the order of their names.
func (m *mover) end() []store.SavedCursor {
	m.pass(^uint64(0), m.head.Block)
	slices.SortFunc(m.moved, func(a, b store.SavedCursor) int { return a.Compare(b.CursorName) })
	return m.moved
}

// producers copies where producers stand.
func (c *copying) producers(ctx context.Context) error {
	var some []store.ImportedProducer
	rejected := 0
	flush := func() error {
		if len(some) == 0 {
			return nil
		}
		err := c.step(ctx, c.at, store.Import{Producers: some})
		some, rejected = nil, 0
		return err
	}
	for p, err := range saved(ctx, c.from) {
		if err != nil {
			return fmt.Errorf("the source: %w", err)
		}
		some = append(some, p)
		if rejected += len(p.Rejected); len(some) == maxProducers || rejected >= maxRejected {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// saved yields the producers of a store with their rejections.
func saved(ctx context.Context, s Source) iter.Seq2[store.ImportedProducer, error] {
	return func(yield func(store.ImportedProducer, error) bool) {
		for p, err := range s.Saved(ctx) {
			i := store.ImportedProducer{SavedProducer: p}
			if err == nil {
				for r, bad := range s.Rejections(ctx, p.Producer, 0) {
					if bad != nil {
						err = bad
						break
					}
					i.Rejected = append(i.Rejected, r)
				}
			}
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}

// cursors copies where cursors stand.
func (c *copying) cursors(ctx context.Context) error {
	for some := range slices.Chunk(c.moved, maxProducers) {
		if err := c.step(ctx, c.at, store.Import{Cursors: some}); err != nil {
			return err
		}
	}
	return nil
}

// confirm compares producers and cursors, and looks whether the source has gone on.
func (c *copying) confirm(ctx context.Context) error {
	mine, n, err := census(ctx, c.from)
	if err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	its, others, err := census(ctx, c.to)
	if err != nil {
		return fmt.Errorf("the target: %w", err)
	}
	if mine != its {
		return fmt.Errorf("the source has %d producers, which are not the %d of the target: %w", n, others, ErrUsed)
	}
	cursors, err := c.to.Cursors(ctx)
	if err != nil {
		return fmt.Errorf("the target: %w", err)
	}
	if !slices.EqualFunc(cursors, c.moved, func(a, b store.SavedCursor) bool {
		return a.CursorName == b.CursorName && a.Position == b.Position && a.Saved.Equal(b.Saved)
	}) {
		return fmt.Errorf("the source has %d cursors, which are not the %d of the target: %w", len(c.moved), len(cursors), ErrUsed)
	}
	c.report.Producers, c.report.Cursors = n, len(cursors)
	return c.unused(ctx)
}

// census returns what stands for all producers of a store, in whatever order they come,
// and how many they are. Epochs don't count.
func census(ctx context.Context, s Source) (sum [sha256.Size]byte, n int, err error) {
	for p, err := range saved(ctx, s) {
		if err != nil {
			return sum, n, err
		}
		one := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %d %q %d %d %q",
			[]string{p.Principal, p.Topic, p.Name}, p.Attempt, p.Next, p.GivenUp, p.Note, p.Seen.UnixNano(), p.Expire, rejections(p.Rejected)))
		for i := range sum {
			sum[i] ^= one[i]
		}
		n++
	}
	return sum, n, nil
}

// rejections are rejections as text.
func rejections(all []store.Rejection) (text []string) {
	for _, r := range all {
		text = append(text, fmt.Sprint(r.Number), r.Code, r.Reason, r.Text)
	}
	return text
}
