package log

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// A group is commits that are synced together. All are in one segment.
type group struct {
	commits []*commit
	segment *segment
	end     int64
}

// take takes the commits of the next group out of those that are pending: up to the
// first that somebody waits for, and then as many bytes as there is room.
func (c *committer) take(room int64) (g []*commit, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, waited := 0, false
	for ; n < len(c.pending) && (size < maxGroup || !waited); n++ {
		k := int64(c.pending[n].size())
		if waited && size+k > room {
			break
		}
		size += k
		if c.pending[n].isAwaited() {
			c.waiting--
			waited = true
		}
	}
	g = slices.Clone(c.pending[:n])
	c.pending = append(c.pending[:0], c.pending[n:]...)
	c.size -= int(size)
	return g, size
}

// putBack puts those commits back that nobody waits for, of a group that was not
// written, and returns the others.
func (c *committer) putBack(all []*commit) (waited []*commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var hasty []*commit
	for _, m := range all {
		if m.isAwaited() {
			waited = append(waited, m)
			continue
		}
		hasty = append(hasty, m)
		c.size += m.size()
	}
	c.pending = append(hasty, c.pending...)
	return waited
}

// write writes the next group. If it fails, the commits of the group get the error.
func (s *Store) write() (g group, err error) {
	c := &s.committer
	var all int64
	g.commits, all = c.take(c.active.room - c.off)
	if len(g.commits) == 0 || s.failed() != nil {
		return g, nil
	}
	if c.off+all > c.active.room && c.off > c.active.Start {
		size := s.segmentSize(c.successor.room)
		err := s.reserve.hold(size) // a segment larger than the reserved room could not be rewritten within it
		if err == nil {
			err = s.roll(size)
		}
		if vfs.IsNoSpaceError(err) && !s.reserve.isSpent() { // a smaller segment may fit
			err = s.roll(s.small(g.commits))
		}
		if vfs.IsNoSpaceError(err) && slices.ContainsFunc(g.commits, func(m *commit) bool { return m.vital }) && s.reserve.release() {
			if err = s.roll(s.small(g.commits)); err == nil {
				g.commits = s.refuse(g.commits)
			}
		}
		s.reserve.lacked(vfs.IsNoSpaceError(err))
		if err != nil {
			if !passes(err) {
				s.fail(err)
				return g, s.failed()
			}
			if vfs.IsNoSpaceError(err) {
				s.stir()
			}
			g.commits = c.putBack(g.commits)
			return g, noRoom(err)
		}
	}
	g.segment = c.active
	if !s.half.Load() {
		c.time = max(c.time, s.opts.Now().UnixNano())
	}
	at := c.off
	buf := c.buf[:0]
	flush := func() {
		if len(buf) > 0 && err == nil {
			_, err = c.active.file.WriteAt(buf, c.off-int64(len(buf)))
		}
		buf = buf[:0]
	}
	for _, m := range g.commits {
		c.time = max(c.time, m.time)
		m.place, m.off = place{seq: c.seq, synced: c.synced.Load(), pos: c.pos, time: c.time}, c.off
		b := m.seal(c.active.seed, c.off, m.place)
		c.seq++
		c.pos += uint64(m.draft.blocks)
		switch {
		case len(b) > maxCopy || len(g.commits) == 1:
			flush()
			if err == nil {
				_, err = c.active.file.WriteAt(b, c.off)
			}
			c.off += int64(len(b))
		default:
			buf = append(buf, b...)
			c.off += int64(len(b))
		}
	}
	flush()
	c.buf = buf
	if err != nil {
		// After a crash, what is in the file now may be read as frames, so nothing else
		// may be written over it.
		s.fail(fmt.Errorf("write %s at %d: %w", c.active.name(), at, err))
		return g, s.failed()
	}
	g.end = c.off
	c.groups++
	c.bytes += c.off - at
	s.zeroAhead()
	return g, nil
}

func noRoom(err error) error {
	return fmt.Errorf("%w: no room for another segment: %w", store.ErrUnavailable, err)
}

// small returns the smallest size of a segment with room for the commits.
func (s *Store) small(all []*commit) int64 {
	size := min(minSegment, s.opts.MaxSegment)
	for _, m := range all {
		size += int64(m.size())
	}
	return size
}

// refuse answers those commits of a full disk that do not free space. It returns the
// others, and those that nobody waits for, which are already in memory.
func (s *Store) refuse(all []*commit) (left []*commit) {
	for _, m := range all {
		if m.vital || !m.isAwaited() {
			left = append(left, m)
			continue
		}
		m.tell(noRoom(syscall.ENOSPC))
	}
	return left
}

// settle shows a durable group to readers.
func (s *Store) settle(g group) {
	c := &s.committer
	last := g.commits[len(g.commits)-1].place
	seg := g.segment
	s.states.mu.Lock()
	for _, m := range g.commits {
		for _, ch := range m.changes {
			s.states.set(ch.key, m.place.seq, ch.data)
			if !m.isAwaited() {
				s.quotas.arrive(ch.key, ch.by)
			} else {
				s.quotas.count(ch.key, ch.by)
			}
		}
	}
	s.states.seq = last.seq
	behind := s.states.behind()
	seg.mu.Lock()
	s.topics.mu.Lock()
	for _, m := range g.commits {
		seg.live.chunk(m.off, m.place.pos, m.place.time)
		if seg.Time == 0 {
			seg.Time = m.place.time
		}
		s.states.mark.pass(seg, m)
		pos := m.place.pos
		for i := range m.blocks {
			b := &m.blocks[i]
			seg.live.block(b.topic.name, pos, b.records, b.bytes, b.size).by.add(b.owner, b.weight)
			s.own(b.topic, b.owner)
			b.topic.add(pos, b.records, b.bytes, m.place.time)
			s.topics.stored.add(b.owner, b.weight)
			pos++
		}
	}
	s.topics.mu.Unlock()
	seg.mu.Unlock()
	s.states.mu.Unlock() // so that a checkpoint has the whole group or nothing of it
	if behind {
		s.stir()
	}
	for _, m := range g.commits {
		if m.then != nil {
			m.then()
		}
	}

	end := last.pos + uint64(g.commits[len(g.commits)-1].draft.blocks)
	seg.size.Store(g.end)
	seg.end.Store(end)
	grown := s.topics.head.Load() != end
	s.topics.head.Store(end)
	c.synced.Store(last.seq)
	_ = c.slots.write(s.head.Log, last.seq) // only a hint
	if grown {
		s.waiters.wake(g)
	}
}
