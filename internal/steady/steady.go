// Package steady has a clock for ages: when the system's clock jumps, nothing becomes older or
// younger by that.
package steady

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// jump is the least difference between the clock and the time passed that counts as a
	// jump.
	jump = time.Minute

	// trial is how long a clock that has jumped ahead must go on until it is believed.
	trial = time.Hour
)

// A Clock tells the time by which stored things age. The machine's clock may jump: a
// wrong battery clock at boot, a mistyped date, a bad time server. What is deleted
// because of that does not come back with the right time.
type Clock struct {
	read func() (shown time.Time, passed time.Duration) // the clock's time, and the time since New
	log  *slog.Logger

	mu     sync.Mutex
	shown  time.Time // the clock's time as last read
	passed time.Duration
	ahead  time.Duration // how far the clock has jumped ahead without being believed yet
	since  time.Duration // when it jumped
}

// New returns a Clock that reads now, whose times should have a monotonic reading, like
// those of time.Now. newest is the time of the newest stored thing, or zero: how long the
// machine was off is unknown, so the time beyond newest counts as a jump. log is told of
// jumps; nil disables it.
func New(now func() time.Time, newest time.Time, log *slog.Logger) *Clock {
	start := now()
	return begin(func() (time.Time, time.Duration) {
		t := now()
		return t.Round(0), t.Sub(start)
	}, newest, log)
}

func begin(read func() (time.Time, time.Duration), newest time.Time, log *slog.Logger) *Clock {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Clock{read: read, log: log}
	c.shown, c.passed = read()
	if newest.IsZero() {
		return c
	}
	switch gap := c.shown.Sub(newest); {
	case gap > jump:
		c.ahead, c.since = gap, c.passed
	case gap < -jump:
		c.log.Warn("the clock is behind the newest record: until it has caught up, what is stored has the time of that record",
			"by", (-gap).Round(time.Second).String(), "newest", newest.UTC())
	}
	return c
}

// Expiry returns the time by which things age. That is the clock's time, except for an
// hour after a jump ahead, and after New: then it is the earlier time plus the time that
// has passed since.
func (c *Clock) Expiry() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	shown, passed := c.read()
	by := shown.Sub(c.shown) - (passed - c.passed)
	c.shown, c.passed = shown, passed
	switch {
	case by > jump:
		c.ahead += by
		c.since = passed
		c.log.Warn("the clock jumped ahead: for an hour, nothing is deleted for an age that it has by this alone",
			"by", by.Round(time.Second).String(), "clock", shown.UTC())
	case by < -jump:
		c.ahead = max(c.ahead+by, 0)
		c.log.Warn("the clock came back: until it has caught up, what is stored has the time of the newest record",
			"by", (-by).Round(time.Second).String(), "clock", shown.UTC())
	}
	if c.ahead > 0 && passed-c.since >= trial {
		c.ahead = 0
	}
	return shown.Add(-c.ahead)
}
