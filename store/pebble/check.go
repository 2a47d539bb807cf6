package pebble

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dictwire/dictwire/store"
)

// A Report says what a check found.
type Report struct {
	Blocks, Records, Bytes uint64 // that can be read; bytes are those of the records
	Damages                int    // how often damaged was called
	Lost                   uint64 // records that damage hides, as far as the topics' counts tell
}

// Check reads all there is and calls damaged for everything that can't be read,
// with its positions where they are known. It may run beside appends and reads.
func (s *Store) Check(ctx context.Context, damaged func(*store.DamageError)) (Report, error) {
	c := &checker{s: s, damaged: damaged}
	all := s.topics.matching(nil)
	sortTopics(all)
	for _, t := range all {
		if err := c.topic(ctx, t); err != nil {
			return c.report, err
		}
	}
	// Once more in the order: what is missing is found only there.
	for _, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err := c.note(err); err != nil {
			return c.report, err
		}
	}
	return c.report, c.states(ctx)
}

type checker struct {
	s       *Store
	report  Report
	told    []*store.DamageError
	damaged func(*store.DamageError)
}

// note reports damage, and returns any other error but a trim.
func (c *checker) note(err error) error {
	var damage *store.DamageError
	var trim *store.TrimmedError
	switch {
	case errors.As(err, &damage):
		if !c.known(damage) {
			c.told = append(c.told, damage)
			c.report.Damages++
			c.damaged(damage)
		}
	case err != nil && !errors.As(err, &trim):
		return err
	}
	return nil
}

// known reports whether damage is a part of what was reported.
func (c *checker) known(d *store.DamageError) bool {
	return !d.To.IsZero() && slices.ContainsFunc(c.told, func(told *store.DamageError) bool {
		return told.Topic == d.Topic && told.From.Compare(d.From) <= 0 && told.To.Compare(d.To) >= 0
	})
}

// topic reads a topic, and looks up the place of each of its blocks.
func (c *checker) topic(ctx context.Context, t *topic) error {
	before := c.report
	held, err := c.held(ctx, t)
	if err != nil {
		return err
	}
	for b, err := range c.s.Read(ctx, store.Position{}, store.ReadOptions{Topics: []string{t.name}}) {
		if err := c.note(err); err != nil {
			return err
		}
		if b.Block == nil {
			continue
		}
		c.report.Blocks++
		c.report.Records += uint64(len(b.Block.Lengths))
		c.report.Bytes += uint64(len(b.Block.Data))
		if err := c.place(ctx, t.name, b); err != nil {
			return err
		}
	}
	if c.report.Damages > before.Damages {
		c.report.Lost += minus(held, c.report.Records-before.Records)
	}
	return nil
}

// held returns how many records a topic holds, zero where damage hides that.
func (c *checker) held(ctx context.Context, t *topic) (uint64, error) {
	if err := c.s.enter(ctx); err != nil {
		return 0, err
	}
	defer c.s.leave()
	stat, err := c.s.stat(t, c.s.order.head.Load())
	if err != nil {
		return 0, nil // the read that follows says what can't be read
	}
	return stat.Records, nil
}

func (c *checker) place(ctx context.Context, name string, b store.Batch) error {
	if err := c.s.enter(ctx); err != nil {
		return err
	}
	defer c.s.leave()
	v, err := c.s.get(orderKey(b.At.Block))
	if err == nil && v == nil {
		if c.s.isTrimmed(name, b.At.Block) {
			return nil
		}
		err = errors.New("the block has no place in the order")
	}
	if err == nil {
		_, _, err = splitPlace(v)
	}
	if err != nil {
		return c.note(&store.DamageError{From: b.At, To: b.Next, Topic: name, Err: err})
	}
	return nil
}

// states reads what is known of producers and cursors.
func (c *checker) states(ctx context.Context) error {
	if err := c.s.enter(ctx); err != nil {
		return err
	}
	defer c.s.leave()
	for prefix, decode := range map[byte]func([]byte) error{
		prefixProducer: func(v []byte) error { _, err := decodeState(v); return err },
		prefixCursor:   func(v []byte) error { _, err := c.s.decodeCursor(v); return err },
	} {
		it, err := c.s.db.NewIter(bounds([]byte{prefix}, []byte{prefix + 1}))
		if err != nil {
			return unreadable(err)
		}
		for it.First(); it.Valid(); it.Next() {
			if err := decode(it.Value()); err != nil {
				_ = c.note(&store.DamageError{Err: fmt.Errorf("the state %q: %w", it.Key(), err)})
			}
		}
		if err := it.Error(); err != nil {
			_ = c.note(&store.DamageError{Err: fmt.Errorf("the states of producers or cursors: %w", err)})
		}
		it.Close()
	}
	return nil
}

// Info is what is known of a store as a whole.
type Info struct {
	Dir        string
	Tag        string // of its positions
	Durability store.Durability
	Head       store.Position
	DiskBytes  uint64 // that its files take
	FreeBytes  uint64 // of the disk; zero where it is not known
	Producers  int
}

// Info returns what is known of the store as a whole.
func (s *Store) Info(ctx context.Context) (Info, error) {
	if err := s.enter(ctx); err != nil {
		return Info{}, err
	}
	defer s.leave()
	i := Info{
		Dir: s.dir, Tag: s.tag, Durability: s.opts.Durability,
		Head: s.position(s.order.head.Load()), DiskBytes: s.db.Metrics().DiskSpaceUsage(), Producers: s.ofProducers.All(),
	}
	if u, err := s.opts.FS.GetDiskUsage(s.dir); err == nil {
		i.FreeBytes = u.AvailBytes
	}
	return i, nil
}
