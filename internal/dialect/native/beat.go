package native

import (
	"time"

	"github.com/dictwire/dictwire/internal/wire"
)

// A beater tells the client, while something takes long, that the session is alive.
// Otherwise the client would give the connection up and start again.
type beater struct {
	say   func()
	timer *time.Timer
	turn  chan struct{} // of capacity 1: held while on is used, and while the beater writes
	on    bool
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
	if b.on {
		b.say()
		b.timer.Reset(wire.BeatEvery)
	}
}

// while runs do, beating meanwhile. do must not change what say uses.
func (b *beater) while(do func()) {
	b.set(true)
	b.timer.Reset(wire.BeatEvery)
	defer func() {
		b.set(false)
		b.timer.Stop()
	}()
	do()
}

func (b *beater) set(on bool) {
	b.turn <- struct{}{}
	b.on = on
	<-b.turn
}
