package log

import (
	"errors"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// roll seals the active segment, goes on with its successor, and makes the next successor
// with room for size bytes. Everything written must have been settled.
func (s *Store) roll(size int64) error {
	c := &s.committer
	c.landing <- struct{}{}
	defer func() { <-c.landing }()
	if f := s.failed(); f != nil {
		return f
	}
	old, next := c.active, c.successor
	if z := next.zeros; z != nil { // nil after an earlier attempt
		if err := z.stop(); err != nil { // there may be no room for frames either
			next.zeros = newZeroer(next)
			next.zeros.upTo <- next.room
			return err
		}
		next.zeros = nil
	}
	if s.opts.Durability == store.OS { // sealed segments are synced in any case
		if err := old.file.SyncData(); err != nil {
			s.fail(err)
			return s.failed()
		}
	}
	done := old.sealed
	done.Last, done.End, done.Size = c.seq-1, old.end.Load(), c.off
	// The next successor is durable before the first frame of its predecessor is.
	next.First, next.Position = c.seq, c.pos
	after, err := s.makeSuccessor(next, done, size)
	if err != nil {
		return err
	}
	c.active, c.successor, c.off = next, after, next.Start
	next.end.Store(c.pos)
	c.groups, c.bytes = 0, 0
	old.mu.Lock()
	old.Last, old.End, old.Size = done.Last, done.End, done.Size
	x := old.live
	old.live = nil
	old.mu.Unlock()
	s.indexes.put(old, x)
	s.segments.add(next)
	if t, ok := old.file.(interface{ Truncate(size int64) error }); ok {
		_ = t.Truncate(done.Size) // free the space allocated ahead
	}
	_ = old.file.Close()
	s.stir()
	return nil
}

// passes reports whether an error that kept a file from being made is transient.
func passes(err error) bool {
	return vfs.IsNoSpaceError(err) || slices.ContainsFunc([]error{
		syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	}, func(target error) bool { return errors.Is(err, target) })
}

func (s *Store) stir() {
	select {
	case s.tidy <- struct{}{}:
	default:
	}
}

// segmentSize returns the size of the segment after one of the given size.
func (s *Store) segmentSize(before int64) int64 {
	return min(max(2*before, minSegment), s.maxSegment())
}

// minSegment is the size of the first segment, in bytes.
const minSegment = 256 << 10

// makeSuccessor makes the segment after the given one, which is the active one or is
// about to be: the successor's header says so, durably. done is the segment that is
// sealed at the same time, if any.
func (s *Store) makeSuccessor(active *segment, done sealed, size int64) (*segment, error) {
	previous := s.head
	if active.header != nil {
		previous = *active.header
	}
	previous.Previous, previous.Start = nil, active.Start
	h := &header{
		Number: active.Number + 1, Opening: s.head.Opening, Log: s.head.Log, Tag: s.head.Tag, Salt: random(),
		Generation: s.head.Generation, Base: s.head.Base, Again: s.head.Again, Synced: s.committer.synced.Load(),
		Position: s.committer.pos, Next: s.committer.pos, Time: s.committer.time, Damage: s.head.Damage, Gaps: s.head.Gaps, Previous: &previous,
	}
	for _, g := range s.segments.list() {
		l := g.sealed
		if l.Number == done.Number && done.Number > 0 {
			l = done
		}
		if l.Number != active.Number {
			h.Live = append(h.Live, l)
		}
	}
	l := active.sealed
	l.Last = 0
	h.Live = append(h.Live, l)
	return s.makeSegment(h, size)
}

// makeSegment makes a segment's file with its header, durably.
func (s *Store) makeSegment(h *header, size int64) (_ *segment, err error) {
	g := newSegment(sealed{Number: h.Number, Salt: h.Salt, First: h.Base + 1, Position: h.Position})
	b := h.encode()
	g.header, g.Start, g.room = h, int64(len(b)), int64(len(b))+size
	if h.Number == h.Opening && !s.copies { // it gets frames at once: see zeroer
		b = append(b, make([]byte, size)...)
	}
	name := s.path(g.name())
	if g.file, err = s.create(name); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.file.Close(), s.fs.Remove(name))
		}
	}()
	if err := g.file.Preallocate(0, g.room); err != nil {
		return nil, err
	}
	if _, err := g.file.WriteAt(b, 0); err != nil {
		return nil, err
	}
	if err := g.file.Sync(); err != nil {
		return nil, err
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return nil, err
	}
	g.live = newIndex()
	g.size.Store(g.Start)
	g.end.Store(g.Position)
	if h.Number != h.Opening {
		g.zeros = newZeroer(g)
	}
	return g, nil
}

// large reports whether groups are so large that writing zeros ahead of them does not
// pay.
func (c *committer) large() bool { return c.groups > 0 && c.bytes/c.groups > maxCopy }

func (c *committer) closeFiles() error {
	var errs []error
	for _, g := range []*segment{c.active, c.successor} {
		if g != nil {
			if g.zeros != nil {
				_ = g.zeros.stop()
			}
			errs = append(errs, g.file.Close())
		}
	}
	if c.slots.file != nil {
		errs = append(errs, c.slots.file.Close())
	}
	return errors.Join(errs...)
}
