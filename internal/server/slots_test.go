package server

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/lease"
)

// A from is a connection from some host whose peer is silent.
type from struct {
	net.Conn
	host string
}

func (c from) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.ParseIP(c.host), Port: 1} }
func (c from) SetReadDeadline(time.Time) error  { return nil }
func (c from) SetWriteDeadline(time.Time) error { return nil }

// A lounge is the slots of a server, and the connections that wanted one.
type lounge struct {
	*slots
	t      *testing.T
	rules  dialect.Rules
	ending chan struct{}
}

func newLounge(t *testing.T, limit int) *lounge {
	return &lounge{
		slots: newSlots(limit, -1), t: t, ending: make(chan struct{}),
		rules: dialect.Rules{Memory: lease.NewBudget(1<<20, 1<<10), Turns: lease.NewTurns()},
	}
}

func (l *lounge) conn(host string) *dialect.Conn { return dialect.NewConn(from{host: host}, &l.rules) }

// comes starts a connection of a host, which is served until it is told to end.
func (l *lounge) comes(host string) *slot {
	l.t.Helper()
	p := l.enter(l.conn(host), l.ending)
	go func() {
		if !l.wait(p, l.ending) {
			return
		}
		<-p.c.Ending()
		l.leave(p)
	}()
	return p
}

// has says what a connection has got so far.
func has(p *slot) string {
	synctest.Wait()
	select {
	case <-p.ready:
	default:
		return "waits"
	}
	switch {
	case !p.taken:
		return "turned away"
	case p.c.GaveWay():
		return "gave way"
	}
	return "place"
}

// all ends everything.
func (l *lounge) all(slots ...*slot) {
	close(l.ending)
	for _, p := range slots {
		p.c.Drain()
	}
	synctest.Wait()
	if l.open != 0 || len(l.lobby) != 0 || len(l.hosts) != 0 || l.slots.ending != 0 || l.strangers.Len() != 0 || len(l.speakers) != 0 {
		l.t.Errorf("afterwards there are %d places, %d in the lobby, %v", l.open, len(l.lobby), l.hosts)
	}
}

// counts returns how many connections wait, have given way and not left, and have a slot.
func (l *lounge) counts() (waiting, leaving, placed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lobby), l.slots.ending, l.open
}

// crowd starts n connections of one host, and returns them.
func (l *lounge) crowd(n int) []*slot {
	var crowd []*slot
	for range n {
		crowd = append(crowd, l.comes("127.0.1.1"))
	}
	return crowd
}

// A host with many connections does not keep out another one, and then has to be silent for
// less time.
func TestSlotsCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLounge(t, 20)
		crowd := l.crowd(20 + minCrowd)
		began := time.Now()
		other := l.comes("127.0.0.1")
		if got := has(crowd[20+minCrowd-1]); got != "turned away" {
			t.Errorf("the newest of the crowd: %s, and the lobby is full", got)
		}
		<-other.ready
		if took := time.Since(began); !other.taken || took != fairTime {
			t.Errorf("the other host's: %s, after %v", has(other), took)
		}
		for i, p := range crowd[:20+minCrowd-1] {
			want := "place"
			switch {
			case i == 0:
				want = "gave way"
			case i >= 20:
				want = "waits"
			}
			if got := has(p); got != want {
				t.Errorf("connection %d of the crowd: %s, want %s", i, got, want)
			}
		}
		l.all(append(crowd, other)...)
	})
}

// A free slot goes to the waiting connection whose host has the fewest, and then to the
// first one.
func TestSlotsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLounge(t, 4)
		placed := append(l.crowd(3), l.comes("127.0.1.2"))
		for _, p := range placed {
			p.c.Spoke()
		}
		waiting := []*slot{l.comes("127.0.1.1"), l.comes("127.0.1.2"), l.comes("127.0.1.3"), l.comes("127.0.1.4")}
		for i, want := range []int{2, 3, 0, 1} {
			placed[i].c.Drain()
			if got := has(waiting[want]); got != "place" {
				t.Fatalf("place %d: %d of those who wait %s", i, want, got)
			}
			waiting[want].c.Spoke()
		}
		l.all(append(placed, waiting...)...)
	})
}

// Connections of one host wait, and none is turned away; none gives way before its time.
func TestSlotsOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLounge(t, 4)
		crowd := l.crowd(4 + minCrowd)
		last := make(chan *slot)
		began := time.Now()
		go func() { last <- l.comes("127.0.1.1") }()
		time.Sleep(silentTime - time.Millisecond)
		for i, p := range crowd {
			if got := has(p); got != "place" && i < 4 || got != "waits" && i >= 4 {
				t.Errorf("connection %d: %s", i, got)
			}
		}
		p := <-last
		if took := time.Since(began); took < silentTime || took > silentTime+2*lookTime {
			t.Errorf("the last one came into the lobby after %v", took)
		}
		l.all(append(crowd, p)...)
	})
}

// Another host's connection is let in while one of the crowd waits for room in the lobby,
// which is then turned away.
func TestSlotsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLounge(t, 4)
		crowd := l.crowd(4 + minCrowd)
		entered := make(chan *slot)
		go func() { entered <- l.comes("127.0.1.1") }()
		synctest.Wait()
		other := l.comes("127.0.0.1")
		late := <-entered
		if got := has(late); got != "turned away" {
			t.Errorf("the one that came too late: %s", got)
		}
		l.all(append(crowd, late, other)...)
	})
}

// Few connections may take their time to leave.
func TestSlotsLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLounge(t, 3*minCrowd)
		var crowd []*slot
		for range 4 * minCrowd {
			crowd = append(crowd, l.enter(l.conn("127.0.1.1"), l.ending))
			if waiting, _, _ := l.counts(); waiting == minCrowd {
				time.Sleep(2 * silentTime)
			}
		}
		time.Sleep(time.Minute)
		if waiting, leaving, placed := l.counts(); waiting != 0 || leaving != minCrowd || placed != l.max {
			t.Errorf("%d wait, %d leave, %d have a place", waiting, leaving, placed)
		}
		next := l.enter(l.conn("127.0.0.1"), l.ending)
		time.Sleep(time.Minute)
		if got := has(next); got != "waits" {
			t.Errorf("the next one: %s, while others leave", got)
		}
		l.leave(crowd[0])
		if got := has(next); got != "place" {
			t.Errorf("the next one: %s, when one has left", got)
		}
	})
}

// Whatever comes and goes, no limit is exceeded, each host's count is right, and nobody
// waits forever.
func TestSlotsRandom(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			l := newLounge(t, 1+r.IntN(20))
			var all []*slot
			for range 300 {
				switch r.IntN(6) {
				case 0, 1, 2:
					host := fmt.Sprintf("127.0.%d.1", r.IntN(1+r.IntN(6)))
					entered := make(chan *slot, 1)
					go func() { entered <- l.comes(host) }()
					all = append(all, <-entered)
				case 3:
					if len(all) > 0 {
						all[r.IntN(len(all))].c.Spoke()
					}
				case 4:
					if len(all) > 0 {
						if p := all[r.IntN(len(all))]; has(p) == "place" {
							p.c.Drain()
						}
					}
				case 5:
					time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
				}
				synctest.Wait()
				l.verify()
			}
			time.Sleep(time.Minute)
			for i, p := range all {
				if got := has(p); got == "waits" {
					t.Errorf("seed %d: connection %d of %d waits", seed, i, len(all))
				}
			}
			l.all(all...)
		})
	}
}

// verify compares the counts with the connections.
func (l *lounge) verify() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	counted := make(map[string]int)
	for _, p := range l.lobby {
		counted[p.c.Host()]++
	}
	for e := l.strangers.Front(); e != nil; e = e.Next() {
		counted[e.Value.(*slot).c.Host()]++
	}
	for _, p := range l.speakers {
		counted[p.c.Host()]++
	}
	if !maps.Equal(counted, l.hosts) {
		l.t.Fatalf("hosts: %v, and there are %v", l.hosts, counted)
	}
	if l.open > l.max || l.slots.ending > minCrowd || len(l.lobby) > minCrowd || len(l.lobby) > 0 && l.open < l.max {
		l.t.Fatalf("%d places of %d, %d in the lobby", l.open, l.max, len(l.lobby))
	}
}
