package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/crc32"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/store"
)

// cursors are the locks of the cursors: a name's is held while one is read, and
// until a commit is durable.
type cursors struct {
	seed maphash.Seed
	mu   [64]sync.Mutex
}

func (c *cursors) of(name store.CursorName) *sync.Mutex {
	return &c.mu[maphash.Comparable(c.seed, name)%uint64(len(c.mu))]
}

// Cursor implements [store.Cursors].
func (s *Store) Cursor(ctx context.Context, c store.CursorName) (store.Position, bool, error) {
	if err := s.enter(ctx); err != nil {
		return store.Position{}, false, err
	}
	defer s.leave()
	mu := s.cursors.of(c) // no commit is in flight then
	mu.Lock()
	defer mu.Unlock()
	saved, ok, err := s.cursor(c)
	return saved.Position, ok, err
}

func (s *Store) cursor(c store.CursorName) (store.SavedCursor, bool, error) {
	v, err := s.get(cursorKey(c))
	if err != nil || v == nil {
		return store.SavedCursor{}, false, err
	}
	saved, err := s.decodeCursor(v)
	return saved, err == nil, err
}

func (s *Store) decodeCursor(v []byte) (store.SavedCursor, error) {
	v, _, err := cutSum(v, len(v))
	if err != nil || len(v) != 20 {
		return store.SavedCursor{}, unreadable(errDamaged)
	}
	p := s.position(binary.LittleEndian.Uint64(v))
	p.Index = binary.LittleEndian.Uint32(v[8:])
	return store.SavedCursor{Position: p, Saved: time.Unix(0, int64(binary.LittleEndian.Uint64(v[12:]))).UTC()}, nil
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
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := p.Within(s.tag, s.position(s.order.head.Load())); err != nil {
		return err
	}
	mu := s.cursors.of(c)
	mu.Lock()
	defer mu.Unlock()
	saved, ok, err := s.cursor(c)
	if err != nil && !back {
		return err
	}
	if ok && !back && p.Compare(saved.Position) <= 0 {
		return nil
	}
	v := binary.LittleEndian.AppendUint64(nil, p.Block)
	v = binary.LittleEndian.AppendUint32(v, p.Index)
	v = binary.LittleEndian.AppendUint64(v, uint64(s.opts.Now().UnixNano()))
	v = binary.LittleEndian.AppendUint32(v, crc32.Checksum(v, castagnoli))
	return s.set(cursorKey(c), v)
}

// Cursors implements [store.Cursors].
func (s *Store) Cursors(ctx context.Context) (all []store.SavedCursor, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	for i := range s.cursors.mu {
		s.cursors.mu[i].Lock()
		defer s.cursors.mu[i].Unlock()
	}
	it, err := s.db.NewIter(bounds([]byte{prefixCursor}, []byte{prefixCursor + 1}))
	if err != nil {
		return nil, unreadable(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		saved, err := s.decodeCursor(it.Value())
		if err != nil {
			return nil, err
		}
		principal, rest, ok1 := cutString(it.Key()[1:])
		name, rest, ok2 := cutString(rest)
		if !ok1 || !ok2 {
			return nil, unreadable(errDamaged)
		}
		saved.CursorName = store.CursorName{Principal: principal, Name: name, Subscription: string(rest)}
		all = append(all, saved)
	}
	if err := it.Error(); err != nil {
		return nil, unreadable(err)
	}
	slices.SortFunc(all, func(a, b store.SavedCursor) int {
		return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Subscription, b.Subscription))
	})
	return all, nil
}
