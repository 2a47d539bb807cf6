package server

import (
	"container/heap"
	"container/list"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

const (
	// silentTime is how long a connection must have said nothing before it gives
	// way to another one.
	silentTime = time.Second

	// fairTime is silentTime for one that has opened no session, where its host has
	// more places than the one that waits.
	fairTime = 100 * time.Millisecond

	// lookTime is how long it takes at least from one vain look for somebody who may
	// give way to the next.
	lookTime = 10 * time.Millisecond

	// crowdPart is how many places there are for each connection that may wait for
	// one, and for each that may take its time to leave; minCrowd is how many may.
	crowdPart = 64
	minCrowd  = 8
)

// slots are the places of a server's open connections. Where all are taken, the next
// connections wait in a lobby, in which those go first whose hosts have the fewest
// places, and one that says nothing gives way: first those that have not opened a
// session, the oldest of them, then the one that has been silent for the longest.
// Where the lobby is full, the host that has the most turns one of its own away, so
// that one host's crowd does not keep the others out.
//
// When a connection speaks, it notes that itself: see [dialect.Conn.Spoke]. It is
// looked at only where a place is wanted, and then each connection at most once in
// silentTime.
type slots struct {
	room chan struct{} // holds one when somebody left the lobby

	mu        sync.Mutex
	max       int            // negative: no limit; guarded by mu, like all below
	each      int            // of one host; likewise
	open      int            // places that are taken
	hosts     map[string]int // how many connections a host has, in places and in the lobby
	lobby     []*slot        // those that wait, the first to come first
	strangers list.List      // of *slot: those that had not spoken when they were looked at, the oldest first
	speakers  speakers       // the others
	ending    int            // how many gave way, and have not left: they have no place
	vain      time.Time      // when nobody was found who may give way
	timer     *time.Timer    // looks again, while somebody waits
}

// A slot is a connection's place, or its wait for one.
type slot struct {
	c     *dialect.Conn
	ready chan struct{} // closed when it has a place, or is turned away
	taken bool          // it has a place; written before ready is closed

	// Guarded by slots.mu.
	since  time.Time     // when it got its place or, of a speaker, spoke when it was looked at
	e      *list.Element // in strangers; else nil
	index  int           // in speakers
	ending bool          // in neither: it was told to give way
}

func newSlots(limit, each int) *slots {
	return &slots{max: limit, each: each, room: make(chan struct{}, 1), hosts: make(map[string]int)}
}

// crowd is how many may wait, and how many may be about to leave.
func (s *slots) crowd() int { return max(s.max/crowdPart, minCrowd) }

// set changes the limits. Who has a place keeps it.
func (s *slots) set(limit, each int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max, s.each = limit, each
	s.look()
}

// enter gives the connection a place, or lets it wait for one. It waits itself where
// the lobby is full of one host's connections, and returns nil when ending is closed.
func (s *slots) enter(c *dialect.Conn, ending <-chan struct{}) *slot {
	for {
		if p := s.tryEnter(c); p != nil {
			return p
		}
		select {
		case <-s.room:
		case <-ending:
			return nil
		}
	}
}

// tryEnter is enter, and returns nil where it would wait.
func (s *slots) tryEnter(c *dialect.Conn) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &slot{c: c, ready: make(chan struct{})}
	if s.each >= 0 && s.hosts[c.Host()] >= s.each {
		p.refuse(fmt.Sprintf("your host has %d connections, as many as Server.MaxHostConns allows", s.each))
		return p
	}
	if s.max < 0 || s.open < s.max {
		s.hosts[c.Host()]++
		s.give(p)
		return p
	}
	full := len(s.lobby) >= s.crowd()
	if full && !slices.ContainsFunc(s.lobby, func(q *slot) bool { return q.c.Host() != c.Host() }) {
		return nil
	}
	s.hosts[c.Host()]++
	s.lobby = append(s.lobby, p)
	if full {
		s.turnAway()
	}
	s.look()
	return p
}

// turnAway turns the newest in the lobby away of the host that has the most. s.mu is
// held.
func (s *slots) turnAway() {
	var away int
	for i, p := range s.lobby {
		if s.hosts[p.c.Host()] >= s.hosts[s.lobby[away].c.Host()] {
			away = i
		}
	}
	p := s.lobby[away]
	s.quit(away)
	p.refuse("the server has no room for more connections, and your host has the most")
}

// refuse says why p gets no place.
func (p *slot) refuse(text string) {
	p.c.GiveWay(&fault.Error{
		Code: fault.Unavailable, At: -1,
		Text: text, Hint: "use fewer connections, or connect again later",
	})
	close(p.ready)
}

// quit takes who is at i out of the lobby. s.mu is held.
func (s *slots) quit(i int) {
	s.forget(s.lobby[i].c.Host())
	s.lobby = slices.Delete(s.lobby, i, i+1)
	s.hasRoom()
}

func (s *slots) hasRoom() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// forget counts one connection of a host less. s.mu is held.
func (s *slots) forget(host string) {
	if s.hosts[host]--; s.hosts[host] == 0 {
		delete(s.hosts, host)
	}
}

// give gives p a place. s.mu is held.
func (s *slots) give(p *slot) {
	s.open++
	p.since, p.taken = time.Now(), true
	p.e = s.strangers.PushBack(p)
	close(p.ready)
}

// wait waits until p has a place. It reports false where p is turned away, or ending
// is closed before.
func (s *slots) wait(p *slot, ending <-chan struct{}) bool {
	select {
	case <-p.ready:
		return p.taken
	default:
	}
	select {
	case <-p.ready:
		return p.taken
	case <-ending:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.lobby, p); i >= 0 {
		s.quit(i)
	}
	return p.taken
}

// leave gives a place back, when its connection is closed.
func (s *slots) leave(p *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.ending {
		s.ending--
	} else {
		s.remove(p)
	}
	s.look()
}

// look gives the places that are free to those who wait, and makes others give way
// for those who are left. s.mu is held.
func (s *slots) look() {
	s.place()
	if len(s.lobby) == 0 {
		if s.timer != nil {
			s.timer.Stop()
		}
		return
	}
	wait := s.giveWay(len(s.lobby))
	s.place()
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.look()
		})
		return
	}
	s.timer.Reset(wait)
}

// place gives the places that are free to those who wait. s.mu is held.
func (s *slots) place() {
	for (s.max < 0 || s.open < s.max) && len(s.lobby) > 0 {
		i, _ := s.first()
		p := s.lobby[i]
		s.lobby = slices.Delete(s.lobby, i, i+1)
		s.give(p)
		s.hasRoom()
	}
}

// first returns who in the lobby is the next, and how many of its host wait there.
// s.mu is held.
func (s *slots) first() (first, same int) {
	for i, p := range s.lobby {
		host, best := p.c.Host(), s.lobby[first].c.Host()
		switch {
		case host == best:
			same++
		case s.hosts[host] < s.hosts[best]:
			first, same = i, 1
		}
	}
	return first, same
}

// makeRoom makes a connection give way, where one has been silent.
func (s *slots) makeRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveWay(1)
}

// giveWay makes connections give way for n that wait, as far as there are any that
// may, and returns when to look again. s.mu is held.
func (s *slots) giveWay(n int) time.Duration {
	if n = min(n, s.crowd()-s.ending); n <= 0 {
		return silentTime // or when one of them has left
	}
	now := time.Now()
	if left := lookTime - now.Sub(s.vain); left > 0 {
		return left
	}
	before := s.ending
	wait := s.endStrangers(now, n)
	if s.ending == before && len(s.speakers) > 0 {
		wait = min(wait, s.endSpeaker(now))
	}
	if s.ending == before {
		s.vain = now
	}
	return max(wait, lookTime)
}

// endStrangers makes up to n that have opened no session give way. Where there are
// none, it returns how long it is until there may be one. s.mu is held.
func (s *slots) endStrangers(now time.Time, n int) time.Duration {
	few, fair := 0, 0 // how many connections the host has that is the next, and for how many of it there is to be room
	if len(s.lobby) > 0 {
		var first int
		first, fair = s.first()
		few = s.hosts[s.lobby[first].c.Host()]
	}
	wait := silentTime
	var next *list.Element
	for e := s.strangers.Front(); e != nil && n > 0; e = next {
		next = e.Next()
		p := e.Value.(*slot)
		if spoke := p.c.LastSpoke(); !spoke.IsZero() {
			s.strangers.Remove(e)
			p.e, p.since = nil, spoke
			heap.Push(&s.speakers, p)
			continue
		}
		silent := now.Sub(p.since)
		switch {
		case silent >= silentTime:
			s.end(p)
			n--
		case fair == 0:
			return min(wait, silentTime-silent)
		case silent < fairTime:
			return min(wait, fairTime-silent)
		case s.hosts[p.c.Host()] > few:
			s.end(p)
			n--
			fair--
		default:
			wait = min(wait, silentTime-silent)
		}
	}
	return wait
}

// endSpeaker makes the one give way that has been silent for the longest, and for
// silentTime at least. It returns how long it is until then. s.mu is held.
func (s *slots) endSpeaker(now time.Time) time.Duration {
	for {
		p := s.speakers[0]
		silent := now.Sub(p.since)
		if silent < silentTime {
			return silentTime - silent
		}
		if spoke := p.c.LastSpoke(); spoke.After(p.since) {
			p.since = spoke
			heap.Fix(&s.speakers, 0)
			continue
		}
		s.end(p)
		return 0
	}
}

// end makes p give way. s.mu is held.
func (s *slots) end(p *slot) {
	s.remove(p)
	p.ending = true
	s.ending++
	p.c.GiveWay(&fault.Error{
		Code: fault.Idle, At: -1,
		Text: "the server has no room for more connections, and this one was silent",
		Hint: "connect again",
	})
}

// remove takes p out of those that have a place. s.mu is held.
func (s *slots) remove(p *slot) {
	s.open--
	s.forget(p.c.Host())
	if p.e != nil {
		s.strangers.Remove(p.e)
	} else {
		heap.Remove(&s.speakers, p.index)
	}
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
