package native

import (
	"time"

	"github.com/dictwire/dictwire/internal/wire"
)

// A beater tells the client, while something takes long, that the session is alive.
// Otherwise the client would give the connection up and start again.
//
// Its timer is not stopped when something ends and not reset when the next begins, which
// would cost every record more than all else here. It runs until it finds that nothing
// takes long.
type beater struct {
	say   func()
	timer *time.Timer
	turn  chan struct{} // of capacity 1: held while what follows is used, and while the beater writes
	since time.Time     // when what takes long began, or was last told of; zero: there is nothing
	runs  bool          // the timer does
	over  bool          // see stop
}

func newBeater(say func()) *beater {
	b := &beater{say: say, turn: make(chan struct{}, 1)}
	b.timer = time.AfterFunc(wire.BeatEvery, b.beat)
	b.timer.Stop()
	return b
}

func (b *beater) beat() {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.runs = !b.over && !b.since.IsZero(); !b.runs {
		return
	}
	left := wire.BeatEvery - time.Since(b.since)
	if left <= 0 {
		b.say()
		b.since, left = time.Now(), wire.BeatEvery
	}
	b.timer.Reset(left)
}

// begin begins to beat, until end. Meanwhile the caller must not change what say uses.
func (b *beater) begin() {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.since = time.Now()
	if !b.runs {
		b.runs = true
		b.timer.Reset(wire.BeatEvery)
	}
}

func (b *beater) end() {
	b.turn <- struct{}{}
	b.since = time.Time{}
	<-b.turn
}

// stop ends the beater for good.
func (b *beater) stop() {
	b.turn <- struct{}{}
	b.over = true
	b.timer.Stop()
	<-b.turn
}
