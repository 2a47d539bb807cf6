package log

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dictwire/dictwire/store"
)

// A Report is the result of a check.
type Report struct {
	Blocks, Records, Bytes uint64 // readable ones; bytes are those of the records
	Damages                int    // how often damaged was called
	Lost                   uint64 // records lost to damage, as far as it is known

	// Missing lists missing files. With any of them, Open fails unless Options.ReadOnly
	// or Options.Salvage is set.
	Missing []string
}

// Check reads everything and calls damaged for whatever can't be read, with its positions
// if blocks are lost. Appends and reads may go on meanwhile.
func (s *Store) Check(ctx context.Context, damaged func(*store.DamageError)) (r Report, err error) {
	r.Missing = s.missing
	stats, err := s.Topics(ctx)
	if err != nil {
		return r, err
	}
	m := s.meter(s.toCheck(stats))
	tell := func(d *store.DamageError) {
		r.Damages++
		damaged(d)
	}
	var told []*store.DamageError
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		var damage *store.DamageError
		var trim *store.TrimmedError
		switch {
		case errors.As(err, &damage):
			told = append(told, damage)
			tell(damage)
		case errors.As(err, &trim):
		case err != nil:
			return r, err
		case b.Block != nil:
			r.Blocks++
			r.Records += uint64(len(b.Block.Lengths))
			r.Bytes += uint64(len(b.Block.Data))
			m.add(uint64(len(b.Block.Data)))
		}
	}
	// Damage that was found when the log was opened, and that no reader is told.
	for _, d := range s.damages {
		found := &store.DamageError{Err: errors.New(d.Text)}
		if d.To > d.From {
			found.From, found.To = s.position(d.From), s.position(d.To)
		}
		if !slices.ContainsFunc(told, func(t *store.DamageError) bool {
			return t.From.Compare(found.To) < 0 && found.From.Compare(t.To) < 0
		}) {
			tell(found)
		}
	}
	if err := s.checkFrames(ctx, tell, m); err != nil {
		return r, err
	}
	if stats, err = s.Topics(ctx); err != nil {
		return r, err
	}
	held := uint64(0)
	for _, t := range stats {
		held += t.Records
	}
	if r.Damages > 0 {
		r.Lost = minus(held, r.Records)
	}
	return r, s.checkStates(ctx, tell)
}

// toCheck returns about how many bytes Check reads: those of the records, then those of
// the files.
func (s *Store) toCheck(stats []store.TopicStat) (n uint64) {
	for _, t := range stats {
		n += t.Bytes
	}
	for _, g := range s.segments.list() {
		n += uint64(g.size.Load())
	}
	return n
}

// checkFrames looks for damage in frames without blocks, which no reader misses.
func (s *Store) checkFrames(ctx context.Context, tell func(*store.DamageError), m *meter) error {
	for _, g := range s.segments.list() {
		if err := s.enter(ctx); err != nil {
			return err
		}
		err := s.checkSegment(g, tell)
		s.leave()
		if err != nil && !s.freed(g, err) {
			return unavailable(err)
		}
		m.add(uint64(g.size.Load()))
	}
	return nil
}

func (s *Store) checkSegment(g *segment, tell func(*store.DamageError)) error {
	if g.Lost != "" {
		return nil
	}
	f, err := s.fs.Open(s.path(g.name()))
	if err != nil {
		return err
	}
	if _, _, err := readHeader(f, true); err != nil {
		tell(&store.DamageError{Err: fmt.Errorf("%s: %w", g.name(), err)})
	}
	if err := f.Close(); err != nil {
		return err
	}
	sc, err := s.scan(g, g.Start, g.size.Load())
	if err != nil {
		return err
	}
	defer sc.close()
	for sc.next() {
		if d := sc.damage; d != nil && d.to > 0 && d.to <= d.from {
			tell(&store.DamageError{Err: fmt.Errorf("%s at %d, no records: %w", g.name(), d.off, d.err)})
		}
	}
	return sc.err
}

// checkStates reads the states of producers and cursors.
func (s *Store) checkStates(ctx context.Context, tell func(*store.DamageError)) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	err := s.states.scan("a", "z", func(key string, v value) bool {
		var err error
		switch {
		case v.data == nil:
		case key[0] == prefixProducer:
			_, err = decodeState(v.data)
		case key[0] == prefixCursor:
			_, err = s.decodeCursor(v.data)
		}
		if err != nil {
			tell(&store.DamageError{Err: fmt.Errorf("the state %q: %w", key, err)})
		}
		return true
	})
	if err != nil {
		tell(&store.DamageError{Err: fmt.Errorf("the states of producers and cursors: %w", err)})
	}
	return nil
}

// Info describes a store as a whole.
type Info struct {
	Dir        string
	Tag        string // of its positions
	Durability store.Durability
	Head       store.Position
	DiskBytes  uint64 // of its files
	FreeBytes  uint64 // on the disk; zero if unknown
	Producers  int
	Segments   int
}

// Info describes the store as a whole.
func (s *Store) Info(ctx context.Context) (Info, error) {
	if err := s.enter(ctx); err != nil {
		return Info{}, err
	}
	defer s.leave()
	segments := s.segments.list()
	i := Info{
		Dir: s.dir, Tag: s.tag, Durability: s.opts.Durability, Segments: len(segments),
		Head: s.position(s.topics.head.Load()),
	}
	i.DiskBytes, i.FreeBytes = s.room()
	err := s.states.scan(string(rune(prefixProducer)), string(rune(prefixProducer+1)), func(_ string, v value) bool {
		if v.data != nil {
			i.Producers++
		}
		return true
	})
	return i, err
}
