package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/dictwire/dictwire/store"
)

// saved is the JSON body of the last message on a cursor's subject.
type saved struct {
	Principal, Name, Subscription []byte // bytes, since they need not be UTF-8
	Position                      store.Position
	Saved                         time.Time
	Epoch                         uint64 // of the last claim or reset; 0: the sequence of this message
	Attempt                       uint64 // of the active claim
	Front                         string // the server that made the claim
	Lasts                         bool
	Gone                          bool   // the cursor was forgotten
	Nonce                         uint64 // identifies the write to its author
}

func (v saved) name() store.CursorName {
	return store.CursorName{Principal: string(v.Principal), Name: string(v.Name), Subscription: string(v.Subscription)}
}

func newSaved(c store.CursorName) saved {
	return saved{Principal: []byte(c.Principal), Name: []byte(c.Name), Subscription: []byte(c.Subscription)}
}

// A cursor is one that is claimed here.
type cursor struct {
	lock chan struct{} // held by the user of the other fields
	seq  uint64
	v    saved
}

// mark returns the header of a cursor's message, for readers that get headers alone.
func (v saved) mark() string {
	kind := "c"
	if v.Gone {
		kind = "g"
	}
	return kind + " " + strconv.FormatUint(v.Epoch, 10) + " " + encodeName(string(v.Principal))
}

// noteCursor records that a cursor was written. s.mu is held.
func (s *Store) noteCursor(id string, seq uint64, value string) {
	f := fields{rest: value}
	kind, epoch := f.text(), f.number(10)
	principal, err := decodeName(f.text())
	if err != nil || f.err != nil {
		return
	}
	if epoch == 0 {
		epoch = seq
	}
	s.fence(&s.readers, id, epoch)
	s.countCursor(id, principal, kind == "c")
}

// countCursor adds a cursor to the count of its principal, or removes it. s.mu is held.
func (s *Store) countCursor(id, principal string, there bool) {
	switch {
	case there && !s.cursorsOf[id]:
		s.cursorsOf[id] = true
		s.ofCursors.Add(principal, 1)
	case !there && s.cursorsOf[id]:
		delete(s.cursorsOf, id)
		s.ofCursors.Add(principal, -1)
	}
}

// readCursor reads a cursor from a replica. The sequence is 0 if there has never been one.
func (s *Store) readCursor(ctx context.Context, id string) (seq uint64, v saved, err error) {
	m, err := s.last(ctx, s.cursor(id))
	if err != nil || m.seq == 0 {
		return 0, v, err
	}
	v, err = s.parseSaved(m)
	return m.seq, v, err
}

func (s *Store) parseSaved(m stored) (v saved, err error) {
	if err := json.Unmarshal(m.data, &v); err != nil {
		return v, fmt.Errorf("message %d on %s: %w", m.seq, m.subject, err)
	}
	if v.Epoch == 0 {
		v.Epoch = m.seq
	}
	if !v.Position.IsZero() { // the stored position belongs to this stream, even if the tag has changed
		v.Position.Tag = s.tag
	}
	return v, nil
}

// writeCursor stores a cursor on condition that the sequence of its last message is seq.
func (s *Store) writeCursor(ctx context.Context, id string, seq uint64, v saved) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	m := message{subject: s.cursor(id), mark: v.mark(), rollup: true, data: data}
	if v.Gone {
		m.ttl = goneTime
	}
	return s.publish(ctx, &check{m.subject, seq}, m)
}

// goneTime is how long the message of a forgotten name is kept: longer than any message
// sent before it can still be in flight.
const goneTime = 24 * time.Hour

// changeCursor reads a cursor, passes it to change, and writes the result. If change
// returns an error, changeCursor returns it once the broker has confirmed that the value
// was current. It returns what was written, or what was read if there was nothing to write.
func (s *Store) changeCursor(ctx context.Context, c store.CursorName, change func(context.Context, saved, bool) (saved, bool, error)) (seq uint64, v saved, err error) {
	id, nonce := cursorID(c), rand.Uint64()
	ctx, end := s.until(ctx)
	defer end()
	tries := pace{}
	for tries.wait(ctx) {
		seq, v, err := s.readCursor(ctx, id)
		if err != nil {
			tries.failed(err)
			continue
		}
		if seq > 0 && v.Nonce == nonce {
			s.wrote(id, v)
			return seq, v, nil
		}
		known := seq > 0 && !v.Gone
		next, write, err := change(ctx, v, known)
		if err != nil || !write {
			ok, failed := confirm(ctx, s.conn, s.barrier(), check{s.cursor(id), seq})
			if ok {
				return seq, v, s.wrong(ctx, err)
			}
			tries.failed(failed)
			continue
		}
		next.Nonce = nonce
		seq, err = s.writeCursor(ctx, id, seq, next)
		if err == nil {
			if next.Epoch == 0 {
				next.Epoch = seq
			}
			s.wrote(id, next)
			return seq, next, nil
		}
		if !tries.again(err) {
			return 0, v, s.wrong(ctx, err)
		}
	}
	return 0, v, s.wrong(ctx, tries.err(ctx))
}

// wrote counts a cursor that this server wrote.
func (s *Store) wrote(id string, v saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countCursor(id, string(v.Principal), !v.Gone)
}

// ClaimCursor implements [store.Cursors].
func (s *Store) ClaimCursor(ctx context.Context, c store.CursorName, r store.CursorRequest) (store.CursorClaim, error) {
	if err := s.open(ctx); err != nil {
		return store.CursorClaim{}, err
	}
	id := cursorID(c)
	put, noted := s.claiming(&s.readers, id)
	defer noted()
	isNew := false
	seq, v, err := s.changeCursor(ctx, c, func(ctx context.Context, v saved, known bool) (saved, bool, error) {
		isNew = !known
		if known && r.Attempt != 0 && v.Lasts && r.Attempt < v.Attempt {
			lasts, err := s.lasts(ctx, id, v)
			if err != nil {
				return v, false, err
			}
			if lasts {
				return v, false, store.ErrStale
			}
		}
		if !known {
			if err := s.ofCursors.Check(c.Principal); err != nil {
				return v, false, err
			}
			if err := s.CheckPosition(ctx, r.From); err != nil {
				return v, false, err
			}
			v = newSaved(c)
			v.Position, v.Saved = r.From, s.now().UTC()
			v.Position.Tag = s.tag
		}
		v.Epoch, v.Attempt, v.Front, v.Lasts = 0, r.Attempt, s.front, true
		return v, true, nil
	})
	if err != nil {
		return store.CursorClaim{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fenced := put(v.Epoch, r.Attempt)
	if fenced.Err() == nil {
		s.cursors[id] = &cursor{lock: make(chan struct{}, 1), seq: seq, v: v}
	}
	return store.CursorClaim{Epoch: v.Epoch, Position: v.Position, New: isNew, Fenced: fenced}, nil
}

// lasts reports whether the claim of a cursor is active: if it was made here, this server
// knows; otherwise its server must be alive.
func (s *Store) lasts(ctx context.Context, id string, v saved) (bool, error) {
	if v.Front == s.front {
		mine, _ := s.readers.Get(id)
		return mine == v.Epoch, nil
	}
	return s.isThere(ctx, v.Front)
}

// Commit implements [store.Cursors].
func (s *Store) Commit(ctx context.Context, c store.CursorName, epoch uint64, p store.Position) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	id := cursorID(c)
	s.mu.Lock()
	mine := s.cursors[id]
	s.mu.Unlock()
	if lasts, _ := s.readers.Get(id); mine == nil || lasts != epoch || epoch == 0 {
		return store.ErrFenced
	}
	if err := s.CheckPosition(ctx, p); err != nil {
		return err
	}
	select {
	case mine.lock <- struct{}{}:
		defer func() { <-mine.lock }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, end := s.until(ctx)
	defer end()
	tries := pace{}
	for tries.wait(ctx) {
		if mine.v.Epoch != epoch || !mine.v.Lasts {
			if lasts, _ := s.readers.Get(id); lasts == epoch {
				s.readers.End(id)
			}
			return store.ErrFenced
		}
		if p.Compare(mine.v.Position) <= 0 {
			return nil
		}
		next := mine.v
		next.Position, next.Saved, next.Nonce = p, s.now().UTC(), 0
		next.Position.Tag = s.tag
		seq, err := s.writeCursor(ctx, id, mine.seq, next)
		if err == nil {
			mine.seq, mine.v = seq, next
			return nil
		}
		if !tries.again(err) {
			return s.wrong(ctx, err)
		}
		if errors.Is(err, errNotStored) {
			continue
		}
		if seq, v, err := s.readCursor(ctx, id); err != nil {
			tries.failed(err)
		} else if seq > mine.seq { // otherwise a replica was behind, or nothing was stored
			mine.seq, mine.v = seq, v
		}
	}
	return s.wrong(ctx, tries.err(ctx))
}

// ReleaseCursor implements [store.Cursors].
func (s *Store) ReleaseCursor(c store.CursorName, epoch uint64) {
	id := cursorID(c)
	if mine, _ := s.readers.Get(id); mine != epoch || epoch == 0 {
		return
	}
	s.readers.Release(id, epoch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.cursors[id]; m != nil {
		delete(s.cursors, id)
	}
	if s.ctx.Err() != nil {
		return
	}
	// The other servers learn of it from this message, or when this server is gone.
	s.work.Go(func() {
		_, _, _ = s.changeCursor(s.ctx, c, func(_ context.Context, v saved, known bool) (saved, bool, error) {
			if !known || v.Epoch != epoch || !v.Lasts {
				return v, false, nil
			}
			v.Lasts = false
			return v, true, nil
		})
	})
}

// Cursor implements [store.Cursors].
func (s *Store) Cursor(ctx context.Context, c store.CursorName) (p store.Position, found bool, err error) {
	if err := s.open(ctx); err != nil {
		return p, false, err
	}
	_, _, err = s.changeCursor(ctx, c, func(_ context.Context, v saved, known bool) (saved, bool, error) {
		if p, found = (store.Position{}), known; known {
			p = v.Position
		}
		return v, false, nil
	})
	return p, found, err
}

// Reset implements [store.Cursors].
func (s *Store) Reset(ctx context.Context, c store.CursorName, p store.Position) error {
	if err := s.CheckPosition(ctx, p); err != nil {
		return err
	}
	return s.rewrite(ctx, c, func(v saved, known bool) (saved, bool, error) {
		if !known {
			if err := s.ofCursors.Check(c.Principal); err != nil {
				return v, false, err
			}
			v = newSaved(c)
		}
		v.Position, v.Saved = p, s.now().UTC()
		v.Position.Tag = s.tag
		return v, true, nil
	})
}

// ForgetCursor implements [store.Cursors].
func (s *Store) ForgetCursor(ctx context.Context, c store.CursorName) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.rewrite(ctx, c, func(v saved, known bool) (saved, bool, error) {
		v = newSaved(c)
		v.Gone = true
		return v, known, nil
	})
}

// rewrite changes a cursor and ends its active claim.
func (s *Store) rewrite(ctx context.Context, c store.CursorName, change func(saved, bool) (saved, bool, error)) error {
	_, _, err := s.changeCursor(ctx, c, func(_ context.Context, v saved, known bool) (saved, bool, error) {
		v, write, err := change(v, known)
		v.Epoch, v.Attempt, v.Front, v.Lasts = 0, 0, "", false
		return v, write, err
	})
	if err == nil {
		id := cursorID(c)
		s.readers.End(id)
		s.mu.Lock()
		delete(s.cursors, id)
		s.mu.Unlock()
	}
	return err
}

// Cursors implements [store.Cursors].
func (s *Store) Cursors(ctx context.Context) ([]store.SavedCursor, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	found := map[store.CursorName]store.SavedCursor{}
	if err := s.each(ctx, s.layout.cursors(), func(m stored) (bool, error) {
		v, err := s.parseSaved(m)
		if err != nil {
			return false, err
		}
		c := v.name()
		if delete(found, c); !v.Gone {
			found[c] = store.SavedCursor{CursorName: c, Position: v.Position, Saved: v.Saved}
		}
		return true, nil
	}); err != nil {
		return nil, err
	}
	all := make([]store.SavedCursor, 0, len(found))
	for _, c := range found {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b store.SavedCursor) int { return a.Compare(b.CursorName) })
	return all, nil
}
