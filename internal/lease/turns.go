package lease

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Turns share the processors between known peers, which never wait for a turn, and all
// others. While known peers are at work, unknown ones get turns on a quarter of the
// processors, at least one; otherwise on all of them. Without turns, each record of a
// known peer would wait for a processor behind hundreds of goroutines that serve unknown
// peers.
//
// Unknown peers have three kinds of turns, with as many places each: the first turns of a
// peer, which show whether it becomes known; later ones; and turns for work that may take
// long, so that no short turn waits for it. In each line, hosts take turns.
//
// Known readers take turns only while records are being stored: on half of the processors,
// at least one, so that any number of readers leaves the rest to producers.
type Turns struct {
	few, half, many int
	known, stored   lately // a known peer worked; good records were stored

	mu      sync.Mutex
	working [kinds]int // turns in progress
	lines   [kinds]line[*Turn]
	hosts   hosts
	owed    time.Duration // how long places for readers have to stay empty
}

type kind uint8

const (
	first kind = iota
	later
	long
	reading
	kinds
	none = kinds
)

const (
	// turnTime is the longest turn of the short kinds. A goroutine that waits for the
	// store or its peer does not keep others from working.
	turnTime = 5 * time.Millisecond

	// restFor is how long a place stays empty after a turn, as a multiple of the turn's
	// length, while known peers are at work: unknown peers leave part of the processors'
	// time to others. Of a short turn, what exceeds turnTime was spent waiting for a
	// processor and counts up to maxTook: on a busy machine, unknown peers rest for
	// longer. Part of a long turn may have been spent waiting for memory.
	restFor = 8
	maxTook = 4 * turnTime
	maxRest = time.Second

	// firstTurns is how many turns of a peer are first ones: one for its first bytes, and
	// others for more. A TLS handshake takes three.
	firstTurns = 3

	// Readers' turns are followed by a rest, too, if other readers wait: half as long as the
	// turns, and not shorter than turnTime, since after each rest it takes a while until a
	// reader has a processor.
	readRest = 2
)

// NewTurns returns Turns for the processors of this machine.
func NewTurns() *Turns {
	n := min(runtime.GOMAXPROCS(0), runtime.NumCPU())
	return &Turns{few: max(n/4, 1), half: max(n/2, 1), many: n}
}

// lately is when something last happened, in nanoseconds since 1970; approximate.
type lately struct{ at atomic.Int64 }

// lateTime is how long ago lately is.
const lateTime = time.Second

// note notes that it happens now. It costs next to nothing.
func (l *lately) note() {
	now := time.Now().UnixNano()
	if now-l.at.Load() > int64(lateTime/4) {
		l.at.Store(now)
	}
}

// is reports whether it happened lately.
func (l *lately) is() bool { return time.Now().UnixNano()-l.at.Load() < int64(lateTime) }

// A Turn belongs to one goroutine.
type Turn struct {
	of   *Turns
	host *Host

	had     int           // turns so far
	granted chan struct{} // of capacity 1: receives a value when an awaited turn begins
	timer   *time.Timer   // ends a turn
	on      atomic.Bool   // kind is not none

	// Guarded by of.mu.
	kind  kind   // of the current turn
	place *place // in line, or nil
	began time.Time
}

// Known notes that a known peer is working. It costs next to nothing.
func (t *Turn) Known() { t.of.known.note() }

// ErrStopped is returned when stop is closed.
var ErrStopped = errors.New("lease: stopped")

// Begin waits for the goroutine's turn. It returns ErrStopped if stop, which may be nil,
// is closed, or the cause of ctx. Within a turn it does nothing. A turn begins at once if
// the host has credit for it.
func (t *Turn) Begin(ctx context.Context, stop <-chan struct{}) error {
	switch {
	case !t.on.Load() && t.host.pay():
		t.had++
		return nil
	case t.had >= firstTurns:
		return t.begin(ctx, stop, later)
	default:
		return t.begin(ctx, stop, first)
	}
}

// BeginLong is Begin for work that may take long. The turn lasts until End. Meanwhile the
// goroutine must not wait for another one that may need a turn.
func (t *Turn) BeginLong(ctx context.Context, stop <-chan struct{}) error {
	t.End()
	return t.begin(ctx, stop, long)
}

// BeginReading is Begin for a known reader. It includes Known.
func (t *Turn) BeginReading(ctx context.Context, stop <-chan struct{}) error {
	t.Known()
	if !t.of.stored.is() {
		return nil
	}
	return t.begin(ctx, stop, reading)
}

func (t *Turn) begin(ctx context.Context, stop <-chan struct{}, k kind) (err error) {
	if t.on.Load() {
		return nil
	}
	of := t.of
	of.mu.Lock()
	of.serve(k)
	if of.working[k] < of.most(k) { // and nobody waits
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

// End ends the turn, if there is one. Otherwise it costs next to nothing.
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
	rest := of.rest(k, time.Since(t.began))
	if rest == 0 {
		of.leave(k)
		return
	}
	time.AfterFunc(rest, func() {
		of.mu.Lock()
		defer of.mu.Unlock()
		of.leave(k)
	})
}

// rest returns how long the place of a turn stays empty. t.mu is held.
func (t *Turns) rest(k kind, took time.Duration) time.Duration {
	if k != long {
		took = min(took, maxTook)
	}
	switch {
	case k == reading && t.lines[k].isEmpty():
		return 0
	case k == reading:
		if t.owed += took / readRest; t.owed < turnTime {
			return 0
		}
		rest := t.owed
		t.owed = 0
		return rest
	case !t.known.is():
		return 0
	}
	return min(restFor*took, maxRest)
}

// lapse ends a short turn whose time is up.
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

// serve begins waiting turns, while there are places. t.mu is held.
func (t *Turns) serve(k kind) {
	for most := t.most(k); t.working[k] < most; {
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

// most returns the number of places for a kind of turn.
func (t *Turns) most(k kind) int {
	switch {
	case k == reading && t.stored.is():
		return t.half
	case k != reading && t.known.is():
		return t.few
	}
	return t.many
}
