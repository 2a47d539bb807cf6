package lease

import (
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
	lines   [kinds]line[*Turn]
	hosts   hosts
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
	// others. What a short turn took beyond turnTime it waited for a processor, of which
	// maxTook counts: where others are at work, strangers rest for longer. In a long one,
	// part of the time may have passed waiting for memory.
	restFor = 8
	maxTook = 4 * turnTime
	maxRest = time.Second

	// firstTurns is how many turns a peer has that are its first: one for a few
	// bytes that have come, and others for more. A TLS handshake takes three.
	firstTurns = 3

	// knownTime is how long after their last work known peers count as being there.
	knownTime = time.Second
)

// NewTurns returns turns for the processors that there are.
func NewTurns() *Turns {
	n := runtime.GOMAXPROCS(0)
	return &Turns{few: max(n/4, 1), many: n}
}

// A Turn is one goroutine's.
type Turn struct {
	of   *Turns
	host *Host

	had     int           // turns so far
	granted chan struct{} // of capacity 1: told when a turn that was waited for begins
	timer   *time.Timer   // ends a turn
	on      atomic.Bool   // kind is not none

	// Guarded by of.mu.
	kind  kind   // of the turn that goes on
	place *place // in line; nil where it does not wait
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
// nil, or ctx is done, whose cause is the error. Within a turn it does nothing. A first
// turn is not waited for where the host has the credit for it.
func (t *Turn) Begin(ctx context.Context, stop <-chan struct{}) error {
	switch {
	case t.had >= firstTurns:
		return t.begin(ctx, stop, later)
	case !t.on.Load() && t.host.pay():
		t.had++
		return nil
	default:
		return t.begin(ctx, stop, first)
	}
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
	at := of.lines[k].push(t.host, t)
	t.place = &at
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
	of.lines[k].remove(*t.place)
	t.place = nil
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
	took := time.Since(t.began)
	if k != long {
		took = min(took, maxTook)
	}
	time.AfterFunc(min(restFor*took, maxRest), func() {
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
		next, ok := t.lines[k].pop()
		if !ok {
			return
		}
		next.place = nil
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
