package lease

import (
	"container/list"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Turns share the processors out between known peers, who never wait for a turn,
// and all others. While known peers are at work, as few others work at a time as a
// quarter of the processors, one at least; else one for each processor. Without
// that, each record of a known peer would wait for the processor after hundreds of
// goroutines that do what strangers ask for.
//
// There are three kinds of turns, each with as many places: a peer's first ones,
// which tell who it is; those after them; and those for work that may take long, so
// that no other waits for it. In each line the turn goes round the hosts.
type Turns struct {
	few, many int
	seen      atomic.Int64 // when a known peer worked, in nanoseconds since 1970, about

	mu      sync.Mutex
	working [kinds]int // how many have a turn
	lines   [kinds]line
}

type kind uint8

const (
	first kind = iota
	later
	long
	kinds
	none = kinds
)

const (
	// turnTime is how long a turn lasts at most, unless it is a long one: who waits
	// for the store or its peer does not keep others from working.
	turnTime = 5 * time.Millisecond

	// restFor is how long a place stays empty after a turn, for each time it took,
	// while known peers are at work: strangers leave some of the processors' time to
	// others. It does not hold for first turns, and for a second at most: in a long
	// turn, part of the time may have passed waiting for memory.
	restFor = 2
	maxRest = time.Second

	// firstTurns is how many turns a peer has that are its first: one for a few
	// bytes that have come, and one for more.
	firstTurns = 2

	// knownTime is how long after their last work known peers count as being there.
	knownTime = time.Second
)

// NewTurns returns turns for the processors that there are.
func NewTurns() *Turns {
	n := runtime.GOMAXPROCS(0)
	return &Turns{few: max(n/4, 1), many: n}
}

// Turn returns the turns of one goroutine, which has none yet, and works for a host.
func (t *Turns) Turn(host string) *Turn { return &Turn{of: t, host: host, kind: none} }

// A Turn is one goroutine's.
type Turn struct {
	of   *Turns
	host string

	had     int           // turns so far
	granted chan struct{} // of capacity 1: told when a turn that was waited for begins
	timer   *time.Timer   // ends a turn
	on      atomic.Bool   // kind is not none

	// Guarded by of.mu.
	kind  kind          // of the turn that goes on
	place *list.Element // in line; nil where it does not wait
	began time.Time
}

// Known notes that a known peer works. It costs next to nothing.
func (t *Turn) Known() {
	now := time.Now().UnixNano()
	if now-t.of.seen.Load() > int64(knownTime/4) {
		t.of.seen.Store(now)
	}
}

// ErrStopped is what is returned where stop was closed.
var ErrStopped = errors.New("lease: stopped")

// Begin waits until it is the goroutine's turn, unless stop is closed, which may be
// nil, or ctx is done, whose cause is the error. Within a turn it does nothing.
func (t *Turn) Begin(ctx context.Context, stop <-chan struct{}) error {
	if t.had < firstTurns {
		return t.begin(ctx, stop, first)
	}
	return t.begin(ctx, stop, later)
}

// BeginLong is Begin for work that may take long. The turn lasts until End, and the
// goroutine must not wait meanwhile for anybody who may need one.
func (t *Turn) BeginLong(ctx context.Context, stop <-chan struct{}) error {
	t.End()
	return t.begin(ctx, stop, long)
}

func (t *Turn) begin(ctx context.Context, stop <-chan struct{}, k kind) (err error) {
	if t.on.Load() {
		return nil
	}
	of := t.of
	of.mu.Lock()
	of.serve(k)
	if of.working[k] < of.most() { // and nobody waits
		of.start(t, k)
		of.mu.Unlock()
		return nil
	}
	if t.granted == nil {
		t.granted = make(chan struct{}, 1)
	}
	of.lines[k].push(t)
	of.mu.Unlock()
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-stop:
		err = ErrStopped
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if t.place == nil {
		<-t.granted
		return nil
	}
	of.lines[k].remove(t)
	return err
}

// End ends the turn, if there is one. It costs next to nothing where there is none.
func (t *Turn) End() {
	if !t.on.Load() {
		return
	}
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.end()
}

// end is End. of.mu is held.
func (t *Turn) end() {
	if t.kind == none {
		return
	}
	of, k := t.of, t.kind
	t.kind = none
	t.on.Store(false)
	if k != long {
		t.timer.Stop()
	}
	if !of.isCrowded() {
		of.leave(k)
		return
	}
	time.AfterFunc(min(restFor*time.Since(t.began), maxRest), func() {
		of.mu.Lock()
		defer of.mu.Unlock()
		of.leave(k)
	})
}

// lapse ends a turn whose time is over, but a long one.
func (t *Turn) lapse() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	if t.kind != long && time.Since(t.began) >= turnTime {
		t.end()
	}
}

// leave makes a place for another turn. t.mu is held.
func (t *Turns) leave(k kind) {
	t.working[k]--
	t.serve(k)
}

// serve begins the turns of those who wait, where there is a place. t.mu is held.
func (t *Turns) serve(k kind) {
	for most := t.most(); t.working[k] < most; {
		next := t.lines[k].pop()
		if next == nil {
			return
		}
		t.start(next, k)
		next.granted <- struct{}{}
	}
}

// start begins a turn. t.mu is held.
func (t *Turns) start(turn *Turn, k kind) {
	t.working[k]++
	turn.had++
	turn.kind, turn.began = k, time.Now()
	turn.on.Store(true)
	if k != long && turn.timer == nil {
		turn.timer = time.AfterFunc(turnTime, turn.lapse)
	} else if k != long {
		turn.timer.Reset(turnTime)
	}
}

// most returns how many may have a turn of a kind.
func (t *Turns) most() int {
	if t.isCrowded() {
		return t.few
	}
	return t.many
}

// isCrowded reports whether known peers are at work.
func (t *Turns) isCrowded() bool {
	return time.Now().UnixNano()-t.seen.Load() < int64(knownTime)
}

// A line is who waits, by their hosts.
type line struct {
	hosts map[string]*list.Element // in ring
	ring  list.List                // of *waiting, whose turn it is first
}

// waiting is who waits of one host, who came first first.
type waiting struct {
	host  string
	turns list.List // of *Turn; not empty
}

func (l *line) push(t *Turn) {
	if l.hosts == nil {
		l.hosts = map[string]*list.Element{}
	}
	e := l.hosts[t.host]
	if e == nil {
		e = l.ring.PushBack(&waiting{host: t.host})
		l.hosts[t.host] = e
	}
	t.place = e.Value.(*waiting).turns.PushBack(t)
}

// pop returns the next one, or nil.
func (l *line) pop() *Turn {
	e := l.ring.Front()
	if e == nil {
		return nil
	}
	t := e.Value.(*waiting).turns.Front().Value.(*Turn)
	l.remove(t)
	if l.hosts[t.host] != nil {
		l.ring.MoveToBack(e)
	}
	return t
}

func (l *line) remove(t *Turn) {
	e := l.hosts[t.host]
	w := e.Value.(*waiting)
	w.turns.Remove(t.place)
	t.place = nil
	if w.turns.Len() == 0 {
		l.ring.Remove(e)
		delete(l.hosts, t.host)
	}
}
