package memory

import (
	"context"
	"iter"
	"slices"
	"strings"

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
	s.sweep()
	known := s.producers[p]
	if known == nil {
		known = &producer{}
	}
	now := s.now()
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
	return claim, nil
}

// sweep forgets the producers whose time is over, once in a while. s.mu is held.
func (s *Store) sweep() {
	if len(s.producers) < s.sweepAt {
		return
	}
	now := s.now()
	for p, known := range s.producers {
		if !known.Known(now) {
			delete(s.producers, p)
		}
	}
	s.sweepAt = max(1024, 2*len(s.producers))
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
	delete(s.producers, p)
	return nil
}

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
func (s *Store) Commit(ctx context.Context, c store.CursorName, p store.Position) error {
	return s.save(ctx, c, p, false)
}

// Reset implements [store.Cursors].
func (s *Store) Reset(ctx context.Context, c store.CursorName, p store.Position) error {
	return s.save(ctx, c, p, true)
}

func (s *Store) save(ctx context.Context, c store.CursorName, p store.Position, back bool) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := p.Within(s.tag, s.position(s.next)); err != nil {
		return err
	}
	p.Tag = s.tag
	if saved, ok := s.cursors[c]; !ok || back || p.Compare(saved.Position) > 0 {
		s.cursors[c] = store.SavedCursor{CursorName: c, Position: p, Saved: s.now().Round(0).UTC()}
	}
	return nil
}

// Cursors implements [store.Cursors].
func (s *Store) Cursors(ctx context.Context) ([]store.SavedCursor, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	all := make([]store.SavedCursor, 0, len(s.cursors))
	for _, c := range s.cursors {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b store.SavedCursor) int { return compareNames(a.CursorName, b.CursorName) })
	return all, nil
}

func compareNames(a, b store.CursorName) int {
	if c := strings.Compare(a.Principal, b.Principal); c != 0 {
		return c
	}
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Subscription, b.Subscription)
}
