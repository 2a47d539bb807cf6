package server

import (
	"container/heap"
	"container/list"
	"sync"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
)

const (
	// silentTime is how long a connection must have said nothing before it gives
	// way to another one.
	silentTime = time.Second

	// leaveTime is how long one that gives way may take for that before the next
	// one does.
	leaveTime = 100 * time.Millisecond

	// crowdPart is which part of the places strangers give way of at once, so that
	// in a crowd of them not each place is waited for.
	crowdPart = 64
)

// slots are the places of a server's open connections. Where all are taken, one
// that says nothing gives way: first those that have not opened a session, the
// oldest of them, then the one that has been silent for the longest.
//
// When a connection speaks, it notes that itself: see [dialect.Conn.Spoke]. It is
// looked at only where a place is wanted, and then each connection at most once in
// silentTime.
type slots struct {
	max  int           // negative: no limit
	left chan struct{} // holds one when a place was given back

	mu        sync.Mutex
	open      int
	strangers list.List // of *slot: those that had not spoken when they were looked at, the oldest first
	speakers  speakers  // the others
}

// A slot is a connection's place.
type slot struct {
	c     *dialect.Conn
	since time.Time     // when it came or, of a speaker, spoke when it was looked at
	e     *list.Element // in strangers; else nil
	index int           // in speakers
	gone  bool          // in neither
}

func newSlots(limit int) *slots { return &slots{max: limit, left: make(chan struct{}, 1)} }

// take waits for a place. It returns nil when ending is closed.
func (s *slots) take(c *dialect.Conn, ending <-chan struct{}) *slot {
	for {
		p, wait := s.tryTake(c)
		if p != nil {
			return p
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.left:
		case <-timer.C:
		case <-ending:
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// tryTake takes a place, or else says when to look again.
func (s *slots) tryTake(c *dialect.Conn) (*slot, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.max >= 0 && s.open >= s.max {
		return nil, s.giveWay(now)
	}
	s.open++
	p := &slot{c: c, since: now}
	p.e = s.strangers.PushBack(p)
	return p, 0
}

// leave gives a place back.
func (s *slots) leave(p *slot) {
	s.mu.Lock()
	s.open--
	s.remove(p)
	s.mu.Unlock()
	select {
	case s.left <- struct{}{}:
	default:
	}
}

// makeRoom makes a connection give way, where one has been silent.
func (s *slots) makeRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveWay(time.Now())
}

// giveWay makes one connection give way, or several that have not spoken, and
// returns how long that may take; or else how long it is until one has been silent
// for long enough. s.mu is held.
func (s *slots) giveWay(now time.Time) time.Duration {
	wait, ended := silentTime, 0
	for e := s.strangers.Front(); e != nil; e = s.strangers.Front() {
		p := e.Value.(*slot)
		if spoke := p.c.LastSpoke(); !spoke.IsZero() {
			s.strangers.Remove(e)
			p.e, p.since = nil, spoke
			heap.Push(&s.speakers, p)
			continue
		}
		if silent := now.Sub(p.since); silent < silentTime {
			wait = silentTime - silent
			break
		}
		s.end(p)
		if ended++; ended >= s.max/crowdPart {
			break
		}
	}
	if ended > 0 {
		return leaveTime
	}
	for len(s.speakers) > 0 {
		p := s.speakers[0]
		silent := now.Sub(p.since)
		if silent < silentTime {
			return min(wait, silentTime-silent)
		}
		if spoke := p.c.LastSpoke(); spoke.After(p.since) {
			p.since = spoke
			heap.Fix(&s.speakers, 0)
			continue
		}
		s.end(p)
		return leaveTime
	}
	return wait
}

// end makes p give way. s.mu is held.
func (s *slots) end(p *slot) {
	s.remove(p)
	p.c.GiveWay()
}

// remove takes p out of what may give way. s.mu is held.
func (s *slots) remove(p *slot) {
	switch {
	case p.gone:
	case p.e != nil:
		s.strangers.Remove(p.e)
	default:
		heap.Remove(&s.speakers, p.index)
	}
	p.gone = true
}

// speakers is a heap of slots: the one that has been silent for the longest is the
// first.
type speakers []*slot

func (h speakers) Len() int           { return len(h) }
func (h speakers) Less(i, j int) bool { return h[i].since.Before(h[j].since) }
func (h speakers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *speakers) Push(x any) {
	p := x.(*slot)
	p.index = len(*h)
	*h = append(*h, p)
}

func (h *speakers) Pop() any {
	old := *h
	n := len(old) - 1
	p := old[n]
	old[n] = nil
	*h = old[:n]
	return p
}
