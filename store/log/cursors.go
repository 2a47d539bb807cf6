package log

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/store"
)

// cursors holds the locks of the cursors. A cursor's lock is held while it is read, and
// until a commit is durable.
type cursors struct {
	seed maphash.Seed
	mu   [64]sync.Mutex
}

// lock locks a cursor.
func (c *cursors) lock(name store.CursorName) (unlock func()) {
	mu := &c.mu[maphash.Comparable(c.seed, name)%uint64(len(c.mu))]
	mu.Lock()
	return mu.Unlock
}

// Cursor implements [store.Cursors].
func (s *Store) Cursor(ctx context.Context, c store.CursorName) (store.Position, bool, error) {
	if err := s.enter(ctx); err != nil {
		return store.Position{}, false, err
	}
	defer s.leave()
	defer s.cursors.lock(c)() // so that no commit is in progress
	saved, ok, err := s.cursor(c)
	return saved.Position, ok, err
}

func (s *Store) cursor(c store.CursorName) (store.SavedCursor, bool, error) {
	v, err := s.states.get(cursorKey(c))
	if err != nil || v.data == nil {
		return store.SavedCursor{}, false, err
	}
	saved, err := s.decodeCursor(v.data)
	return saved, err == nil, err
}

func (s *Store) decodeCursor(v []byte) (store.SavedCursor, error) {
	if len(v) != 20 {
		return store.SavedCursor{}, unavailable(errState)
	}
	p := s.position(binary.LittleEndian.Uint64(v))
	p.Index = binary.LittleEndian.Uint32(v[8:])
	return store.SavedCursor{Position: p, Saved: time.Unix(0, int64(binary.LittleEndian.Uint64(v[12:]))).UTC()}, nil
}

// ClaimCursor implements [store.Cursors].
func (s *Store) ClaimCursor(ctx context.Context, c store.CursorName, r store.CursorRequest) (store.CursorClaim, error) {
	if err := s.enter(ctx); err != nil {
		return store.CursorClaim{}, err
	}
	defer s.leave()
	defer s.cursors.lock(c)()
	if f := s.failed(); f != nil {
		return store.CursorClaim{}, f
	}
	if _, attempt := s.readers.Get(c); r.Attempt != 0 && r.Attempt < attempt {
		return store.CursorClaim{}, store.ErrStale
	}
	saved, found, err := s.cursor(c)
	if err != nil {
		return store.CursorClaim{}, err
	}
	if !found {
		if err := s.quotas.cursors.Check(c.Principal); err != nil {
			return store.CursorClaim{}, err
		}
		if err := s.within(r.From); err != nil {
			return store.CursorClaim{}, err
		}
		if err := s.save(c, r.From, 1); err != nil {
			return store.CursorClaim{}, err
		}
		saved.Position = s.position(r.From.Block)
		saved.Position.Index = r.From.Index
	}
	epoch := s.epoch.Add(1)
	return store.CursorClaim{
		Epoch: epoch, Position: saved.Position, New: !found, Fenced: s.readers.Put(c, epoch, r.Attempt),
	}, nil
}

// ReleaseCursor implements [store.Cursors].
func (s *Store) ReleaseCursor(c store.CursorName, epoch uint64) { s.readers.Release(c, epoch) }

// Commit implements [store.Cursors].
func (s *Store) Commit(ctx context.Context, c store.CursorName, epoch uint64, p store.Position) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	defer s.cursors.lock(c)()
	if lasts, _ := s.readers.Get(c); lasts != epoch || epoch == 0 {
		return store.ErrFenced
	}
	if err := s.within(p); err != nil {
		return err
	}
	saved, _, err := s.cursor(c)
	if err != nil {
		return err
	}
	if p.Compare(saved.Position) <= 0 {
		return nil
	}
	return s.save(c, p, 0)
}

// Reset implements [store.Cursors].
func (s *Store) Reset(ctx context.Context, c store.CursorName, p store.Position) error {
	return s.change(ctx, c, func(by int) error {
		if err := s.within(p); err != nil {
			return err
		}
		return s.save(c, p, by)
	})
}

// ForgetCursor implements [store.Cursors].
func (s *Store) ForgetCursor(ctx context.Context, c store.CursorName) error {
	return s.change(ctx, c, func(by int) error {
		if by > 0 { // there is none
			return nil
		}
		return s.set(cursorKey(c), nil, -1)
	})
}

// change makes an operator's change to a cursor and ends its claim. do is told how many
// cursors it adds if it saves this one.
func (s *Store) change(ctx context.Context, c store.CursorName, do func(by int) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	defer s.cursors.lock(c)()
	v, err := s.states.get(cursorKey(c))
	by := 0
	if err == nil && v.data == nil { // an unreadable one exists
		by = 1
	}
	if err := do(by); err != nil {
		return err
	}
	s.readers.End(c)
	return nil
}

// within returns an error if p is not a position of this store, or beyond its head.
func (s *Store) within(p store.Position) error {
	return p.Within(s.tag, s.position(s.topics.head.Load()))
}

// save saves the position of a cursor. by is how many cursors it adds. The cursor's lock
// is held.
func (s *Store) save(c store.CursorName, p store.Position, by int) error {
	return s.set(cursorKey(c), encodeCursor(p, s.opts.Now()), by)
}

// set changes one state.
func (s *Store) set(key string, data []byte, by int) error {
	m := newCommit()
	m.set(key, data, by)
	return s.commitNew(m)
}

// Cursors implements [store.Cursors].
func (s *Store) Cursors(ctx context.Context) (all []store.SavedCursor, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	var bad error
	err = s.states.scan(string(rune(prefixCursor)), string(rune(prefixCursor+1)), func(key string, v value) bool {
		if v.data == nil {
			return true
		}
		var saved store.SavedCursor
		if saved, bad = s.decodeCursor(v.data); bad != nil {
			return false
		}
		d := decoder{rest: []byte(key[1:])}
		saved.CursorName = store.CursorName{Principal: string(d.string()), Name: string(d.string())}
		saved.Subscription = string(d.rest)
		if d.bad {
			bad = unavailable(errState)
			return false
		}
		all = append(all, saved)
		return true
	})
	if err == nil {
		err = bad
	}
	slices.SortFunc(all, func(a, b store.SavedCursor) int { return a.Compare(b.CursorName) })
	return all, err
}

func cursorKey(c store.CursorName) string {
	b := appendString([]byte{prefixCursor}, c.Principal)
	b = appendString(b, c.Name)
	return string(append(b, c.Subscription...))
}
