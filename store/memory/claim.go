package memory

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/dictwire/dictwire/store"
)

// Claim implements [store.Producers].
func (s *Store) Claim(ctx context.Context, p store.Producer, r store.ClaimRequest) (store.Claim, error) {
	if err := p.Check(); err != nil {
		return store.Claim{}, err
	}
	if err := s.lock(ctx); err != nil {
		return store.Claim{}, err
	}
	defer s.mu.Unlock()
	now := s.now()
	s.forgetOld(now)
	known := s.producers[p]
	made := known == nil
	if made {
		if err := s.ofProducers.Check(p.Principal); err != nil {
			return store.Claim{}, err
		}
		known = &producer{}
	}
	state, claim, err := known.Claim(r, s.epoch+1, now)
	if err != nil {
		return store.Claim{}, err
	}
	s.epoch++
	if claim.New {
		known.rejected = nil
	}
	known.ProducerState = state
	s.producers[p] = known
	if made {
		s.ofProducers.Add(p.Principal, 1)
		s.due.Add(known.Seen.Add(known.Expire), p)
	}
	claim.Fenced = s.writers.Put(p, claim.Epoch, 0)
	return claim, nil
}

// Release implements [store.Producers].
func (s *Store) Release(p store.Producer, epoch uint64) { s.writers.Release(p, epoch) }

// forgetOld forgets expired producers. s.mu is held.
func (s *Store) forgetOld(now time.Time) {
	for {
		p, ok := s.due.Take(now)
		if !ok {
			return
		}
		known := s.producers[p]
		switch {
		case known == nil:
		case known.Known(now): // it was used again
			s.due.Add(known.Seen.Add(known.Expire), p)
		default:
			s.forget(p)
		}
	}
}

// Rejections implements [store.Producers].
func (s *Store) Rejections(ctx context.Context, p store.Producer, after uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) {
		if err := s.lock(ctx); err != nil {
			yield(store.Rejection{}, err)
			return
		}
		var rejected []store.Rejection
		if known := s.producers[p]; known != nil && known.Known(s.now()) {
			rejected = slices.Clone(known.rejected)
		}
		s.mu.Unlock()
		for _, r := range rejected {
			if r.Number > after && !yield(r, nil) {
				return
			}
		}
	}
}

// Forget implements [store.Producers].
func (s *Store) Forget(ctx context.Context, p store.Producer) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.forget(p)
	return nil
}

// forget removes a producer. s.mu is held.
func (s *Store) forget(p store.Producer) {
	if s.producers[p] != nil {
		delete(s.producers, p)
		s.ofProducers.Add(p.Principal, -1)
	}
	s.writers.End(p)
}

// Known implements [store.Producers].
func (s *Store) Known(ctx context.Context, after store.Producer, limit int) (all []store.KnownProducer, err error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	now := s.now()
	for name, p := range s.producers {
		if name.Principal == after.Principal && name.Compare(after) > 0 && p.Known(now) {
			all = append(all, store.KnownProducer{Producer: name, Next: p.Next, Seen: p.Seen})
		}
	}
	slices.SortFunc(all, func(a, b store.KnownProducer) int { return a.Compare(b.Producer) })
	return all[:min(len(all), limit)], nil
}

// ClaimCursor implements [store.Cursors].
func (s *Store) ClaimCursor(ctx context.Context, c store.CursorName, r store.CursorRequest) (store.CursorClaim, error) {
	if err := s.lock(ctx); err != nil {
		return store.CursorClaim{}, err
	}
	defer s.mu.Unlock()
	if _, attempt := s.readers.Get(c); r.Attempt != 0 && r.Attempt < attempt {
		return store.CursorClaim{}, store.ErrStale
	}
	saved, found := s.cursors[c]
	if !found {
		if err := s.ofCursors.Check(c.Principal); err != nil {
			return store.CursorClaim{}, err
		}
		if err := r.From.Within(s.tag, s.position(s.next)); err != nil {
			return store.CursorClaim{}, err
		}
		saved = s.save(c, r.From)
	}
	s.epoch++
	return store.CursorClaim{
		Epoch: s.epoch, Position: saved.Position, New: !found, Fenced: s.readers.Put(c, s.epoch, r.Attempt),
	}, nil
}

// ReleaseCursor implements [store.Cursors].
func (s *Store) ReleaseCursor(c store.CursorName, epoch uint64) { s.readers.Release(c, epoch) }

// Cursor implements [store.Cursors].
func (s *Store) Cursor(ctx context.Context, c store.CursorName) (store.Position, bool, error) {
	if err := s.lock(ctx); err != nil {
		return store.Position{}, false, err
	}
	defer s.mu.Unlock()
	saved, ok := s.cursors[c]
	return saved.Position, ok, nil
}

// Commit implements [store.Cursors].
func (s *Store) Commit(ctx context.Context, c store.CursorName, epoch uint64, p store.Position) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if lasts, _ := s.readers.Get(c); lasts != epoch || epoch == 0 {
		return store.ErrFenced
	}
	if err := p.Within(s.tag, s.position(s.next)); err != nil {
		return err
	}
	if p.Compare(s.cursors[c].Position) > 0 {
		s.save(c, p)
	}
	return nil
}

// Reset implements [store.Cursors].
func (s *Store) Reset(ctx context.Context, c store.CursorName, p store.Position) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := p.Within(s.tag, s.position(s.next)); err != nil {
		return err
	}
	s.save(c, p)
	s.readers.End(c)
	return nil
}

// save saves a cursor's position. s.mu is held.
func (s *Store) save(c store.CursorName, p store.Position) store.SavedCursor {
	if _, known := s.cursors[c]; !known {
		s.ofCursors.Add(c.Principal, 1)
	}
	p.Tag = s.tag
	saved := store.SavedCursor{CursorName: c, Position: p, Saved: s.now().Round(0).UTC()}
	s.cursors[c] = saved
	return saved
}

// ForgetCursor implements [store.Cursors].
func (s *Store) ForgetCursor(ctx context.Context, c store.CursorName) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, known := s.cursors[c]; known {
		delete(s.cursors, c)
		s.ofCursors.Add(c.Principal, -1)
	}
	s.readers.End(c)
	return nil
}

// Cursors implements [store.Cursors].
func (s *Store) Cursors(ctx context.Context) ([]store.SavedCursor, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.cursors), func(a, b store.SavedCursor) int { return a.Compare(b.CursorName) }), nil
}
