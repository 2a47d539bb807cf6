package pebble

import (
	"runtime"
	"slices"
	"sync"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
)

// A committer writes what comes at the same time as one batch of the engine,
// with one sync. Nobody else writes, so that nobody waits within an engine that
// can't go on.
//
//	Append, Claim, … ─▶ waiting ─▶ engine ─▶ aloft ─▶ sync returns ─▶ answers
//	                        run, a goroutine            land, another one
type committer struct {
	wake   chan struct{} // of capacity 1: there may be something to do
	aloft  chan *group   // written, and not known to be durable
	landed chan struct{} // closed behind the last answer
	broken chan struct{} // closed when the engine can't go on

	mu      sync.Mutex
	waiting []*commit // for the next group
	size    int       // of waiting, in bytes
	hasty   []*commit // wait for no sync
	flights int       // groups that are written and not answered
	closed  bool

	unpaced int // bytes that were written since the last look at the engine; run's alone
}

const (
	// maxGroup is the size from which on a group takes no more, in bytes. For a
	// batch of half its memory, the engine flushes it.
	maxGroup = memTable / 8

	// While a group is synced, the next one is written only when it has as many
	// bytes: what is small is the better the more share a sync.
	overlap = maxGroup / 4
)

// A commit is what is written as a whole: blocks, which are given their
// positions, and what is written beside them. Nothing in it is the caller's,
// who may give up before it is written.
type commit struct {
	drafts []draft
	size   int           // of the encoded blocks, in bytes
	beside *engine.Batch // nil where there is nothing
	counts []count       // what it changes; then beside is not nil

	first uint64        // the position of the first block
	err   error         // why it was not written
	done  chan struct{} // of capacity 1
}

// A group is commits that are one batch of the engine.
type group struct {
	commits []*commit
	batch   *engine.Batch
	next    uint64 // the position behind its last block
}

func (c *committer) start(s *Store) {
	c.wake = make(chan struct{}, 1)
	c.aloft = make(chan *group, 2)
	c.landed = make(chan struct{})
	go c.run(s)
	go c.land(s)
}

// stop ends the goroutines, behind all that was committed. It reports whether
// it could: an engine that can't write may hold one of them.
func (c *committer) stop(s *Store) bool {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stir()
	select {
	case <-c.landed:
		return true
	case <-c.broken:
	case <-s.reserve.stuck:
	}
	select {
	case <-c.landed:
		return true
	case <-time.After(grace):
		return false
	}
}

func (c *committer) stir() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// commit returns when m is durable or, where it is hasty, when it will be with
// the next sync.
func (s *Store) commit(m *commit, hasty bool) error {
	if f := s.failed(); f != nil {
		return f
	}
	c := &s.committer
	c.mu.Lock()
	if hasty {
		c.hasty = append(c.hasty, m)
	} else {
		c.waiting = append(c.waiting, m)
		c.size += m.size
	}
	c.mu.Unlock()
	c.stir()
	select {
	case <-m.done:
		return m.err
	case <-c.broken:
		return s.failed()
	}
}

// refuse answers the appends that are not begun.
func (c *committer) refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(m *commit) bool {
		if len(m.drafts) == 0 {
			return false
		}
		c.size -= m.size
		m.err = err
		m.done <- struct{}{}
		return true
	})
}

// write commits a batch, which is the store's from then on.
func (s *Store) write(b *engine.Batch) error {
	return s.commit(&commit{beside: b, done: make(chan struct{}, 1)}, false)
}

// writeHasty commits a batch that need not be durable yet.
func (s *Store) writeHasty(b *engine.Batch) error {
	return s.commit(&commit{beside: b, done: make(chan struct{}, 1)}, true)
}

// run writes what is committed.
func (c *committer) run(s *Store) {
	defer close(c.aloft)
	for range c.wake {
		// Those who were just answered may be back in no time.
		runtime.Gosched()
		for {
			hasty, g, closed := c.next()
			if len(hasty) == 0 && g == nil {
				if closed {
					return
				}
				break
			}
			for _, m := range hasty {
				if err := s.count(m); err != nil {
					s.fail(err)
				}
				if s.apply(m.beside, engine.NoSync) {
					m.done <- struct{}{}
				}
			}
			if g != nil && s.applyGroup(g) {
				c.unpaced += g.batch.Len()
				c.aloft <- g
				c.pace(s)
			} else if g != nil {
				c.down()
			}
		}
	}
}

// maxLayers is how many tables may lie over each other before the engine has merged
// them. A reader looks into each.
const maxLayers = 32

// pace lets the engine merge what it has before more is written, for a while: what
// is damaged can't be merged, and must not stop the others.
func (c *committer) pace(s *Store) {
	if c.unpaced < memTable {
		return
	}
	c.unpaced = 0
	for range 20 {
		if int(s.db.Metrics().Levels[0].Sublevels) < maxLayers {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// next returns what is to be written now, and whether nothing comes behind it.
func (c *committer) next() (hasty []*commit, g *group, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hasty, c.hasty = c.hasty, nil
	switch {
	case len(c.waiting) == 0:
		return hasty, nil, c.closed && c.flights == 0
	case c.flights > 1 || c.flights > 0 && c.size < overlap:
		return hasty, nil, false
	}
	n, size := 0, 0
	for ; n < len(c.waiting) && size < maxGroup; n++ {
		size += c.waiting[n].size
	}
	g = &group{commits: c.waiting[:n:n]}
	c.waiting = c.waiting[n:]
	c.size -= size
	if len(c.waiting) == 0 {
		c.waiting = make([]*commit, 0, cap(g.commits))
	}
	c.flights++
	return hasty, g, false
}

// apply gives a batch to the engine, and reports whether it took it.
func (s *Store) apply(b *engine.Batch, o *engine.WriteOptions) bool {
	if s.failed() != nil {
		return false
	}
	apply := s.db.Apply
	if o.Sync {
		apply = s.db.ApplyNoSyncWait
	}
	if err := apply(b, o); err != nil {
		s.fail(err)
	}
	return s.failed() == nil
}

func (s *Store) applyGroup(g *group) bool {
	size := 256
	for _, m := range g.commits {
		size += m.size + 256*(1+len(m.drafts))
	}
	g.batch = s.db.NewBatch(engine.WithInitialSizeBytes(size), engine.WithMaxRetainedSizeBytes(4*maxGroup))
	for _, m := range g.commits {
		if err := s.count(m); err != nil {
			s.fail(err)
		}
	}
	if err := s.order.give(g, s.opts.Now()); err != nil {
		s.fail(err)
	}
	return s.apply(g.batch, engine.Sync)
}

// land waits for the syncs, and answers.
func (c *committer) land(s *Store) {
	defer close(c.landed)
	for g := range c.aloft {
		if err := g.batch.SyncWait(); err != nil {
			s.fail(err)
		}
		if s.failed() == nil {
			s.order.settle(g)
			s.topics.touchAll(g)
			for _, m := range g.commits {
				m.done <- struct{}{}
			}
			_ = g.batch.Close() // gives its memory back
		}
		c.down()
	}
}

func (c *committer) down() {
	c.mu.Lock()
	c.flights--
	c.mu.Unlock()
	c.stir()
}
