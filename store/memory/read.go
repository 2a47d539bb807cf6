package memory

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Read implements [store.Log].
func (s *Store) Read(ctx context.Context, from store.Position, o store.ReadOptions) iter.Seq2[store.ReadBatch, error] {
	return func(yield func(store.ReadBatch, error) bool) {
		r := &reader{s: s, o: o, topics: store.NewPatterns(o.Topics), at: from}
		if o.Room != nil {
			defer o.Room.Want(ctx, 0)
		}
		if o.Progress == 0 {
			r.o.Progress = 5 * time.Second
		}
		r.read(ctx, yield)
	}
}

// A reader is one Read.
type reader struct {
	s      *Store
	o      store.ReadOptions
	topics *store.Patterns
	at     store.Position    // everything below is done
	told   map[string]uint64 // the topics' trims that are told
}

func (r *reader) read(ctx context.Context, yield func(store.ReadBatch, error) bool) {
	fresh := r.at.IsZero() // then it misses nothing that was trimmed before
	if err := r.begin(ctx); err != nil {
		yield(store.ReadBatch{}, err)
		return
	}
	said := store.Position{}
	for {
		b, grown, err := r.next(ctx, fresh)
		fresh = false
		if b.Block != nil && r.o.Room != nil {
			// The block may be trimmed while it is read.
			if err := r.o.Room.Need(ctx, entry{block: b.Block}.cost()); err != nil {
				yield(store.ReadBatch{}, err)
				return
			}
		} else if r.o.Room != nil {
			r.o.Room.Want(ctx, 0)
		}
		idle := err == nil && b.Block == nil
		if !idle || b.Next != said {
			said = b.Next
			if !yield(b, err) || err != nil && b.Next.IsZero() {
				return
			}
		}
		if !idle {
			continue
		}
		if !r.o.Follow {
			return
		}
		timer := time.NewTimer(r.o.Progress)
		select {
		case <-grown:
		case <-timer.C:
			said = store.Position{}
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// begin checks where the read begins.
func (r *reader) begin(ctx context.Context) error {
	for _, p := range r.o.Topics {
		if err := store.CheckPattern(p); err != nil {
			return err
		}
	}
	if err := r.s.lock(ctx); err != nil {
		return err
	}
	defer r.s.mu.Unlock()
	if err := r.at.Within(r.s.tag, r.s.position(r.s.next)); err != nil {
		return err
	}
	r.at.Tag = r.s.tag
	return nil
}

// next returns the next batch, or progress to the head and what tells that it
// has moved. An error without a Next is the last.
func (r *reader) next(ctx context.Context, fresh bool) (store.ReadBatch, <-chan struct{}, error) {
	s := r.s
	if err := s.lock(ctx); err != nil {
		return store.ReadBatch{}, nil, err
	}
	defer s.mu.Unlock()
	if t := r.trimmed(fresh); t != nil {
		return store.ReadBatch{At: r.at, Next: r.at}, nil, t
	}
	i, _ := slices.BinarySearchFunc(s.entries, r.at.Block, func(e entry, at uint64) int {
		if e.at < at {
			return -1
		}
		return 1
	})
	for _, e := range s.entries[i:] {
		at := s.position(e.at)
		if e.at == r.at.Block {
			at.Index = r.at.Index
		}
		if int(at.Index) >= len(e.block.Lengths) || !r.wants(e.block) {
			continue
		}
		r.at = s.position(e.at + 1)
		return store.ReadBatch{At: at, Next: r.at, Time: e.time, Block: e.block}, nil, nil
	}
	r.at = s.position(s.next)
	return store.ReadBatch{At: r.at, Next: r.at}, s.grown, nil
}

func (r *reader) wants(b *store.Block) bool {
	return r.topics.Match(b.Topic) && (r.o.Producer.IsZero() || r.o.Producer == b.Producer)
}

// trimmed returns what was trimmed where the reader would have come to, or nil.
// s.mu is held.
func (r *reader) trimmed(fresh bool) error {
	if r.s.trimmed <= r.at.Block {
		return nil
	}
	var names []string
	for name, t := range r.s.topics {
		if t.trimmed > max(r.at.Block, r.told[name]) && r.topics.Match(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if r.told == nil {
		r.told = map[string]uint64{}
	}
	if fresh {
		for _, name := range names {
			r.told[name] = r.s.topics[name].trimmed
		}
		return nil
	}
	name := slices.MinFunc(names, strings.Compare)
	r.told[name] = r.s.topics[name].trimmed
	return &store.TrimmedError{From: r.at, To: r.s.position(r.told[name]), Topic: name}
}
