package log

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// A committer writes concurrent commits in groups, with one sync for each. A caller who
// finds no group being written leads the next one. There is a goroutine only for a group of
// which no caller waits.
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

// draftBlock adds a block to the frame of m. index is its place in the arguments of Append.
func (s *Store) draftBlock(m *commit, kind byte, b *store.Block, index int) {
	from, t := len(m.buf), s.topic(b.Topic)
	var head int
	m.buf, head = b.AppendWithHead(slices.Grow(m.buf, b.MaxEncoded()), &t.shrinkage)
	records, bytes, size := uint64(len(b.Lengths)), uint64(len(b.Data)), len(m.buf)-from
	m.addBlock(kind, from, head, records, bytes)
	m.blocks = append(m.blocks, drafted{t, names.Owner(b), index, records, bytes, uint64(size), weigh(size)})
}

// enqueue makes m part of a coming group, which the caller must lead if lead is true.
func (s *Store) enqueue(m *commit) (lead bool, err error) {
	c := &s.committer
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := s.failed(); f != nil {
		return false, f
	}
	c.pending = append(c.pending, m)
	c.size += m.size()
	c.waiting++
	return c.mayLead(), nil
}

// commit waits until m is durable.
func (s *Store) commit(m *commit) error {
	lead, err := s.enqueue(m)
	if err != nil {
		return err
	}
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
	lead, err := s.enqueue(m)
	switch {
	case err != nil:
		m.land(err)
	case lead:
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
		if m.land == nil && m.turn != nil {
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
