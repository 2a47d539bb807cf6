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
	// silentTime is how long a connection must be silent before it may have to give way
	// to another one.
	silentTime = time.Second

	// fairTime replaces silentTime for a connection without a session whose host has more
	// places than the host of the waiting one.
	fairTime = 100 * time.Millisecond

	// lookTime is the shortest time between a vain search for a connection that may give
	// way and the next search.
	lookTime = 10 * time.Millisecond

	// At most max/crowdPart connections may wait for a place, and as many may be on their
	// way out; but minCrowd always may.
	crowdPart = 64
	minCrowd  = 8
)

// slots hands out the places of a server's open connections. If all places are taken, new
// connections wait in a lobby. The next place goes to the host with the fewest
// connections, and a silent connection gives way for it: the oldest one without a session
// or, if there is none, the one that has been silent for the longest. If the lobby is
// full, the host with the most connections has one of them turned away, so that a crowd
// from one host does not keep others out.
//
// Each connection notes when its peer last spoke: see [dialect.Conn.Spoke]. slots reads
// that only when a place is wanted, and at most once in silentTime for each connection.
type slots struct {
	room chan struct{} // holds a value when a place in the lobby became free

	mu        sync.Mutex
	max       int            // negative: no limit; guarded by mu, like all below
	each      int            // limit for one host; likewise
	open      int            // places that are taken
	hosts     map[string]int // the connections of each host, those in the lobby included
	lobby     []*slot        // waiting connections, in order of arrival
	strangers list.List      // of *slot: those that had not spoken when last looked at, oldest first
	speakers  speakers       // the others
	ending    int            // connections that were told to give way and are still open; they have no place
	vain      time.Time      // the last vain search
	timer     *time.Timer    // searches again while connections wait
}

// A slot is a connection's place, or its wait for one.
type slot struct {
	c     *dialect.Conn
	ready chan struct{} // closed when it has a place, or is turned away
	taken bool          // it has a place; written before ready is closed

	// Guarded by slots.mu.
	since  time.Time     // when it got its place; for a speaker, when it last spoke, as of the last look
	e      *list.Element // in strangers, or nil
	index  int           // in speakers
	ending bool          // it was told to give way, and is in neither
}

func newSlots(limit, each int) *slots {
	return &slots{max: limit, each: each, room: make(chan struct{}, 1), hosts: make(map[string]int)}
}

// crowd is the limit of the lobby, and of connections that are on their way out.
func (s *slots) crowd() int { return max(s.max/crowdPart, minCrowd) }

// set changes the limits. Connections that have a place keep it.
func (s *slots) set(limit, each int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max, s.each = limit, each
	s.look()
}

// enter gives the connection a place, or lets it wait in the lobby. If the lobby is full
// of connections of its own host, enter blocks. It returns nil when ending is closed.
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

// tryEnter is enter, but returns nil instead of blocking.
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

// turnAway turns away the newest waiting connection of the host with the most. s.mu is
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

// quit removes the connection at i from the lobby. s.mu is held.
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

// forget uncounts one connection of a host. s.mu is held.
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

// wait waits until p has a place. It reports false if p is turned away, or if ending is
// closed first.
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

// leave frees the place of a connection that is closed.
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

// look hands out free places, and makes connections give way for those still waiting.
// s.mu is held.
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

// place hands out free places. s.mu is held.
func (s *slots) place() {
	for (s.max < 0 || s.open < s.max) && len(s.lobby) > 0 {
		i, _ := s.first()
		p := s.lobby[i]
		s.lobby = slices.Delete(s.lobby, i, i+1)
		s.give(p)
		s.hasRoom()
	}
}

// first returns the index in the lobby of the connection that is next, and how many of
// its host wait there. s.mu is held.
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

// makeRoom makes one silent connection give way, if there is one.
func (s *slots) makeRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveWay(1)
}

// giveWay makes up to n connections give way, and returns when to search again. s.mu is
// held.
func (s *slots) giveWay(n int) time.Duration {
	if n = min(n, s.crowd()-s.ending); n <= 0 {
		return silentTime // or as soon as one of them has left
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

// endStrangers makes up to n connections without a session give way. If none may yet, it
// returns the time until one may. s.mu is held.
func (s *slots) endStrangers(now time.Time, n int) time.Duration {
	few, fair := 0, 0 // the connections of the next host, and for how many of them to make room
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

// endSpeaker makes the connection give way that has been silent for the longest, if that
// is at least silentTime; otherwise it returns the time that is left. s.mu is held.
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

// end tells p to give way. s.mu is held.
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

// remove takes p out of strangers or speakers. s.mu is held.
func (s *slots) remove(p *slot) {
	s.open--
	s.forget(p.c.Host())
	if p.e != nil {
		s.strangers.Remove(p.e)
	} else {
		heap.Remove(&s.speakers, p.index)
	}
}

// speakers is a heap of slots. The first one has been silent for the longest.
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
