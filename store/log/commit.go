package log

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// A committer writes concurrent commits in groups, with one sync for each. There is no
// goroutine for it: a caller who finds no group being written leads the next one.
//
//		Append, Claim, … ─▶ pending ─▶ written ─▶ synced ─▶ shown to readers, answered
//	                      └──── the leader of a group ────┘
//
// The next group is written during the sync of the one before only if it is large. Small
// commits gain more from sharing a sync. A sync counts only for what was written before
// it began.
type committer struct {
	mu      sync.Mutex
	pending []*commit
	size    int  // of pending, in bytes
	waiting int  // pending commits that are awaited
	writing bool // a leader has not finished writing its group
	flights int  // groups that are written but not yet shown

	// These belong to the leader that writes.
	active    *segment
	successor *segment
	off       int64  // of the next frame
	seq       uint64 // of the next frame
	pos       uint64 // of the next block
	time      int64  // of the last frame
	buf       []byte
	groups    int64 // written into the active segment
	bytes     int64 // in these groups

	leaders sync.WaitGroup // goroutines that lead because no caller waits

	landing chan struct{} // of capacity 1: one sync at a time, in the order of the groups
	synced  atomic.Uint64 // the last frame that is durable
	slots   slots
}

const (
	// maxGroup is the size, in bytes, at which a group is full.
	maxGroup = 1 << 20

	// overlap is how many bytes must be pending for a group to be written during a sync.
	overlap = 128 << 10

	// maxCopy is the largest frame, in bytes, that is copied into a buffer with others.
	// Larger ones are written by themselves.
	maxCopy = 64 << 10
)

// A commit is a frame on its way to the disk. It holds nothing that belongs to the
// caller, who may give up before it is written.
type commit struct {
	*draft
	blocks  []drafted // of the frame
	changes []change  // done when the frame is durable, before anything after it is sealed
	time    int64     // when its blocks were taken; zero means when they are written
	then    func()    // done when it is durable, before anything is sealed after it
	says    said      // about older segments
	vital   bool      // it frees disk space, and may use the reserved room

	ended time.Time // when its group was durable
	place place
	off   int64 // in the segment
	err   error
	turn  chan bool   // of capacity 1: true tells the waiter to lead, false that m is done; nil if nobody waits
	land  func(error) // called in place of telling the waiter that m is done; nil if one waits, or nobody
}

// isAwaited reports whether somebody must be told when m is done.
func (m *commit) isAwaited() bool { return m.turn != nil || m.land != nil }

// tell tells that m is done.
func (m *commit) tell(err error) {
	switch {
	case m.land != nil:
		m.land(err)
	case m.turn != nil:
		m.err = err
		m.turn <- false
	}
}

// finish finishes the frame, and adds to the size of each block its share in what else is
// in it: see frame.overhead.
func (m *commit) finish() {
	m.draft.finish()
	overhead := uint64(m.size())
	for i := range m.blocks {
		overhead -= m.blocks[i].size
	}
	for i := range m.blocks {
		m.blocks[i].size += overhead / uint64(len(m.blocks))
	}
}

// A drafted describes a block that is about to be written.
type drafted struct {
	topic          *topic
	owner          string // of the block; also of the topic if the block creates it
	index          int    // in the arguments of Append
	records, bytes uint64
	size           uint64 // in the file
	weight         uint64
}

// A change is a change of one state.
type change struct {
	key  string
	data []byte // nil deletes the key
	by   int    // by how much the number of names grows
}

// commit waits until m is durable.
func (s *Store) commit(m *commit) error {
	c := &s.committer
	c.mu.Lock()
	if f := s.failed(); f != nil {
		c.mu.Unlock()
		return f
	}
	c.pending = append(c.pending, m)
	c.size += m.size()
	c.waiting++
	lead := c.mayLead()
	c.mu.Unlock()
	for {
		if lead {
			s.lead()
		}
		select {
		case lead = <-m.turn:
			if !lead {
				return m.err
			}
		case <-s.broken:
			s.abandon() // m may have been told to lead
			return s.failed()
		}
	}
}

// submit is commit without waiting: m.land is called, by whoever has led its group. If no
// group is being written, the caller leads one.
func (s *Store) submit(m *commit) {
	c := &s.committer
	c.mu.Lock()
	if f := s.failed(); f != nil {
		c.mu.Unlock()
		m.land(f)
		return
	}
	c.pending = append(c.pending, m)
	c.size += m.size()
	c.waiting++
	lead := c.mayLead()
	c.mu.Unlock()
	if lead {
		s.lead()
	}
}

// commitHasty enqueues m without waiting. m is written before any later commit and
// durable when that is. It reports false if a full group is waiting already; the caller
// must then wait.
func (s *Store) commitHasty(m *commit) bool {
	c := &s.committer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size >= maxGroup {
		return false
	}
	m.finish()
	m.turn = nil
	s.states.mu.Lock()
	for _, ch := range m.changes {
		s.quotas.hasten(ch.key, ch.by)
	}
	s.states.mu.Unlock()
	c.pending = append(c.pending, m)
	c.size += m.size()
	return true
}

// mayLead reports whether the caller should write a group now. c.mu is held.
func (c *committer) mayLead() bool {
	if c.writing || c.waiting == 0 || c.flights > 0 && c.size < overlap {
		return false
	}
	c.writing = true
	return true
}

// handOver makes one of the waiting callers the next leader, if a group should be
// written, or a goroutine of its own if none waits. c.mu is held.
func (s *Store) handOver() {
	c := &s.committer
	if !c.mayLead() {
		return
	}
	for _, m := range c.pending {
		if m.turn != nil && m.land == nil {
			m.turn <- true
			return
		}
	}
	c.leaders.Go(func() {
		c.gather()
		s.lead()
	})
}

// gather lets others work, as long as that adds to the next group.
func (c *committer) gather() {
	for n := -1; ; {
		c.mu.Lock()
		before := n
		n = len(c.pending)
		c.mu.Unlock()
		if n == before {
			return
		}
		runtime.Gosched()
	}
}

// lead writes a group, syncs it, and answers its callers.
func (s *Store) lead() {
	c := &s.committer
	g, err := s.write()
	c.landing <- struct{}{} // in the order of the groups: no other leader writes yet
	began := time.Now()
	c.mu.Lock()
	c.writing = false
	c.flights++
	s.handOver()
	c.mu.Unlock()
	if err == nil && len(g.commits) > 0 && s.failed() == nil {
		if s.opts.Durability == store.Fsync {
			err = g.segment.file.SyncData()
		}
		if err != nil {
			s.fail(err)
		} else {
			s.measured.synced(s, began)
			s.settle(g)
		}
	}
	<-c.landing
	ended := time.Now()
	f := s.failed()
	waited := g.commits[:0]
	for _, m := range g.commits {
		m.ended = ended
		if m.land == nil {
			waited = append(waited, m)
			continue
		}
		m.land(cmp.Or(f, err)) // m may be another append's from here on
	}

	c.mu.Lock()
	c.flights--
	s.handOver()
	c.mu.Unlock()
	if f != nil {
		s.abandon()
		return // fail has told those who wait
	}
	for _, m := range waited {
		m.tell(err)
	}
}

// abandon tells those who submitted commits, after the log has failed. Nothing is pending
// from then on.
func (s *Store) abandon() {
	c := &s.committer
	c.mu.Lock()
	all := c.pending
	c.pending, c.size, c.waiting = nil, 0, 0
	c.mu.Unlock()
	for _, m := range all {
		if m.land != nil {
			m.land(s.failed())
		}
	}
}

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
