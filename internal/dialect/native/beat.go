package native

import (
	"time"

	"github.com/dictwire/dictwire/internal/wire"
)

// A beater says, while something takes long, that the session goes on: without
// that, the client would take the connection for dead, and begin it all anew.
type beater struct {
	say   func()
	timer *time.Timer
	turn  chan struct{} // of capacity 1: held while on is used, and while it speaks
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

// while does something. What say uses is not to be changed by it.
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
