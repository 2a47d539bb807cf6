// Package storecopy copies all that a store holds into another one, whatever their
// drivers.
//
//	r, err := storecopy.Copy(ctx, from, to, nil)
//
// Records, their order, numbers and times, what was rejected, where producers stand and
// where cursors do are the same in the copy; positions are its own, and cursors are moved
// to those of the same records. What was trimmed stays trimmed: a cursor that had missed
// records is told so by the copy, too. Nobody may use either store meanwhile.
//
// A copy that ends early, however it ends, goes on where it was when Copy is called again.
// Only when all was compared the copy becomes a store that can be opened: see
// store.Importer.
package storecopy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dictwire/dictwire/store"
)

// A Source is what can be copied.
type Source interface {
	store.Store
	store.Census
}

// A Target is what can become a copy.
type Target interface {
	Source
	store.Importer
}

var (
	// ErrNotEmpty is what Copy wraps where the target holds something that is not of a
	// copy.
	ErrNotEmpty = errors.New("it holds something already")

	// ErrAnother is what Copy wraps where the target is a copy of another store.
	ErrAnother = errors.New("it is a copy of another store")

	// ErrUsed is what Copy wraps where one of the stores has changed beside the copy.
	ErrUsed = errors.New("it was used since the copy began")
)

// A Report says what was copied.
type Report struct {
	Topics             []Topic // in the order of their names
	Producers, Cursors int
	Already            bool // the copy was complete, and nothing was done
}

// A Topic is what was copied of a topic.
type Topic struct {
	Name                   string
	Blocks, Records, Bytes uint64
	Digest                 [sha256.Size]byte // of its blocks, in their order
}

// Copy makes to a copy of from, or goes on with it. Progress is told how many records have
// been copied and compared, of how many, about; nil disables it.
func Copy(ctx context.Context, from Source, to Target, progress func(done, total uint64)) (Report, error) {
	c := &copying{from: from, to: to, progress: progress}
	head, err := from.Head(ctx)
	if err != nil {
		return c.report, err
	}
	c.tag = head.Tag
	if done, err := c.begin(ctx); done || err != nil {
		return c.report, err
	}
	for _, step := range []func(context.Context) error{c.blocks, c.trim, c.compare, c.producers, c.cursors, c.confirm} {
		if err := step(ctx); err != nil {
			return c.report, err
		}
	}
	return c.report, c.step(ctx, store.Copied{Source: c.tag, Next: c.at.Next, Complete: true}, store.Import{})
}

// A copying is one call of Copy.
type copying struct {
	from     Source
	to       Target
	progress func(done, total uint64)

	tag         string       // of from
	at          store.Copied // how far the copy is
	trims       []trimmed    // of from
	moved       []store.SavedCursor
	done, total uint64 // records, twice
	report      Report
}

// A trimmed is how far a topic is trimmed. The last block that was trimmed stands at last.
// In the copy a block of no interest takes its place and is trimmed, too: so whoever was
// before it misses something, and whoever was after it does not.
type trimmed struct {
	topic string
	last  uint64
	next  store.Position // after it
}

// trims returns how far the topics of a store are trimmed, in the order of the places.
func trims(ctx context.Context, s store.Log, tag string) (all []trimmed, err error) {
	for _, err := range s.Read(ctx, beginning(tag), store.ReadOptions{}) {
		var trim *store.TrimmedError
		if !errors.As(err, &trim) { // they come first
			if err != nil {
				return nil, err
			}
			break
		}
		all = append(all, trimmed{trim.Topic, trim.To.Block - 1, trim.To})
	}
	slices.SortFunc(all, func(a, b trimmed) int { return a.next.Compare(b.next) })
	return all, nil
}

// beginning is the position before all blocks, from where a reader is told what was
// trimmed.
func beginning(tag string) store.Position { return store.Position{Tag: tag, Block: 1} }

// begin looks how far the copy is. It reports whether it is complete.
func (c *copying) begin(ctx context.Context) (done bool, err error) {
	if c.at, err = c.to.Imported(ctx); err != nil {
		return false, err
	}
	if c.at == (store.Copied{}) {
		if err := empty(ctx, c.to); err != nil {
			return false, fmt.Errorf("the target: %w", err)
		}
		if err := c.step(ctx, store.Copied{Source: c.tag}, store.Import{}); err != nil {
			return false, err
		}
	}
	if c.at.Source != c.tag {
		return false, fmt.Errorf("the target: %w", ErrAnother)
	}
	if err := c.from.CheckPosition(ctx, c.at.Next); err != nil {
		return false, err
	}
	if c.at.Complete {
		c.report.Already = true
		return true, c.unused(ctx)
	}
	topics, err := c.from.Topics(ctx)
	for _, t := range topics {
		c.total += 2 * t.Records
	}
	if err != nil {
		return false, err
	}
	if c.trims, err = trims(ctx, c.from, c.tag); err != nil {
		err = fmt.Errorf("the source: %w", err)
	}
	return false, err
}

// empty returns an error where a store holds anything.
func empty(ctx context.Context, s Target) error {
	topics, err := s.Topics(ctx)
	if err != nil {
		return err
	}
	cursors, err := s.Cursors(ctx)
	if err != nil {
		return err
	}
	if len(topics) > 0 || len(cursors) > 0 {
		return ErrNotEmpty
	}
	for _, err := range s.Saved(ctx) {
		if err == nil {
			err = ErrNotEmpty
		}
		return err
	}
	return nil
}

// unused returns an error where the source has records that are not copied.
func (c *copying) unused(ctx context.Context) error {
	for b, err := range c.from.Read(ctx, c.next(), store.ReadOptions{}) {
		switch {
		case errors.As(err, new(*store.TrimmedError)):
		case err != nil:
			return err
		case b.Block != nil:
			return fmt.Errorf("the source: %w", ErrUsed)
		}
	}
	return nil
}

// next is where the copy goes on in the source.
func (c *copying) next() store.Position {
	if c.at.Next.IsZero() {
		return beginning(c.tag)
	}
	return c.at.Next
}

// step makes a step of the copy.
func (c *copying) step(ctx context.Context, to store.Copied, what store.Import) error {
	err := c.to.Import(ctx, c.at, to, what)
	switch {
	case err == nil:
		c.at = to
	case errors.Is(err, store.ErrFenced):
		err = errors.New("the target: another copy into it goes on")
	default:
		err = fmt.Errorf("the target: %w", err)
	}
	return err
}

// passed says that records were copied or compared.
func (c *copying) passed(records int) {
	c.done += uint64(records)
	if c.progress != nil {
		c.progress(min(c.done, c.total), c.total)
	}
}

// Bounds of one step: of its blocks, and of the producers with their rejections.
const (
	maxBlocks    = 256
	maxBytes     = 1 << 20
	maxProducers = 256
	maxRejected  = 4096
)

// blocks copies blocks from where the copy is to the head.
func (c *copying) blocks(ctx context.Context) error {
	var some []store.ReadBatch
	size := 0
	flush := func() error {
		if len(some) == 0 {
			return nil
		}
		records := 0
		for _, b := range some {
			records += len(b.Block.Lengths)
		}
		if err := c.step(ctx, store.Copied{Source: c.tag, Next: some[len(some)-1].Next}, store.Import{Blocks: some}); err != nil {
			return err
		}
		some, size = nil, 0
		c.passed(records)
		return nil
	}
	add := func(b store.ReadBatch) error {
		n := b.Block.MaxEncoded()
		if len(some) == maxBlocks || size+n > maxBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		some, size = append(some, b), size+n
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(c.trims), func(t trimmed) bool { return t.next.Compare(c.at.Next) <= 0 })
	stand := func(before uint64, taken time.Time) error {
		for len(rest) > 0 && rest[0].last < before {
			if err := add(store.ReadBatch{Next: rest[0].next, Time: taken, Block: standIn(rest[0].topic)}); err != nil {
				return err
			}
			rest = rest[1:]
		}
		return nil
	}
	taken := time.Now()
	for b, err := range c.from.Read(ctx, c.next(), store.ReadOptions{}) {
		switch {
		case errors.As(err, new(*store.TrimmedError)) || err == nil && b.Block == nil:
			continue
		case err != nil:
			return errors.Join(fmt.Errorf("the source: %w", err), flush())
		}
		taken = b.Time
		if err := stand(b.At.Block, taken); err != nil {
			return err
		}
		b.Block = b.Block.Clone()
		if err := add(b); err != nil {
			return err
		}
	}
	if err := stand(^uint64(0), taken); err != nil {
		return err
	}
	return flush()
}

// standIn is the block that stands for the last one of a topic that was trimmed.
func standIn(topic string) *store.Block {
	b := &store.Block{Topic: topic, Codec: "json"}
	b.Add([]byte("{}"))
	return b
}

// trim trims the blocks of the copy that stand for trimmed ones: of each such topic the
// first.
func (c *copying) trim(ctx context.Context) error {
	head, err := c.to.Head(ctx)
	if err != nil {
		return err
	}
	done, err := trims(ctx, c.to, head.Tag)
	if err != nil {
		return err
	}
	for _, t := range c.trims {
		if slices.ContainsFunc(done, func(d trimmed) bool { return d.topic == t.topic }) {
			continue
		}
		held, err := c.to.Topics(ctx, t.topic)
		if err != nil {
			return err
		}
		if len(held) != 1 || held[0].Blocks == 0 {
			return fmt.Errorf("topic %q of the target: %w", t.topic, ErrUsed)
		}
		first := held[0].First
		first.Block++
		if err := c.to.Trim(ctx, t.topic, first); err != nil {
			return fmt.Errorf("the target: %w", err)
		}
	}
	return nil
}
