package dialect

import (
	"context"
	"fmt"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/option"
)

const (
	lingerTime = time.Second            // an idle connection that is silent for this long gives back its buffer
	quietTime  = 100 * time.Millisecond // a draining connection that is silent for this long ends
	drainTime  = time.Second            // a draining connection that is not silent ends after this, at the end of a record
	pressTime  = time.Second            // interval at which a record's progress is checked
	stallTime  = 2 * time.Second        // interval at which a reader's progress is checked while others wait for memory
	minRate    = 4 << 10                // least bytes a second of a record or a reader while others wait for memory
)

// paused waits for the time set by Pause, unless the connection is about to end. An empty
// buffer is given back.
func (c *Conn) paused(ctx context.Context, within bool, h Holder) error {
	before, resume := time.Now(), time.Unix(0, c.resume.Load())
	if !within && c.buf != nil {
		c.release(h)
	}
	for now := before; now.Before(resume) && c.Ended() == nil; now = time.Now() {
		beat, err := c.beat(now)
		if err != nil {
			return err
		}
		awake := time.NewTimer(min(resume.Sub(now), beat))
		select {
		case <-awake.C:
		case <-c.ending:
		case <-ctx.Done():
		}
		awake.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	c.excuse(before)
	if !within {
		c.idle = time.Now()
	}
	return nil
}

// Pause makes More wait until the given time before it reads on, to slow down a peer that
// sends more than it may. Any goroutine may call it.
func (c *Conn) Pause(until time.Time) { c.resume.Store(until.UnixNano()) }

// excuse extends the record's time limit by the time since a moment, which was spent
// waiting for the server: for memory, or for a turn.
func (c *Conn) excuse(since time.Time) {
	now := time.Now()
	if waited := now.Sub(since); waited > time.Millisecond && !c.began.IsZero() {
		c.began = c.began.Add(waited)
		c.pressed, c.pressAt = now, c.read
	}
}

// patience returns how long the next read may wait, or the error if it may not wait at
// all. silent is the time since which nothing has come.
func (c *Conn) patience(within bool, silent time.Time) (time.Duration, error) {
	draining := c.draining.Load()
	limit, _ := c.idleLimit()
	if draining && c.drainBy.IsZero() {
		c.drainBy = time.Now().Add(drainTime)
	}
	switch {
	case within:
		now, limit := time.Now(), c.rules.RecordTimeout
		if c.sniffing || c.greeting {
			limit = min(limit, c.rules.OpenTimeout)
		}
		left := limit - now.Sub(c.began)
		if left <= 0 && c.sniffing {
			return 0, &fault.Error{Code: fault.Idle, Text: fmt.Sprintf("the first bytes tell no protocol, and no more came within %v", limit)}
		}
		if left <= 0 && c.greeting {
			return 0, tooLate(c.Offset(), "greeting", limit, "Server.OpenTimeout")
		}
		if left <= 0 {
			return 0, tooLate(c.Offset(), "record", limit, "Server.RecordTimeout")
		}
		isSilent := now.Sub(silent) >= pressTime
		if since := now.Sub(c.pressed); since >= pressTime || isSilent {
			slow := isSilent || float64(c.read-c.pressAt) < minRate*since.Seconds()
			c.pressed, c.pressAt = now, c.read
			if slow && c.rules.Memory.Pressed() {
				return 0, tooSlow(c.Offset())
			}
		}
		return min(left, pressTime), nil
	case draining:
		if time.Now().After(c.drainBy) {
			return 0, ErrDrained
		}
		return quietTime, nil
	case c.buf != nil:
		return min(lingerTime, limit), nil
	case c.Patient:
		return option.Never, nil
	default:
		return max(limit-c.silence(), 0), nil
	}
}

// idleLimit returns the current limit of silence, and the name of its option, or "".
func (c *Conn) idleLimit() (limit time.Duration, option string) {
	if c.sniffing && c.rules.FirstTimeout < c.rules.IdleTimeout {
		return c.rules.FirstTimeout, "Server.FirstTimeout"
	}
	if c.MaxIdle > 0 && c.MaxIdle < c.rules.IdleTimeout {
		return c.MaxIdle, ""
	}
	return c.rules.IdleTimeout, "Server.IdleTimeout"
}

func tooLate(at int64, what string, limit time.Duration, option string) *fault.Error {
	return &fault.Error{
		Code: fault.Rate, At: at,
		Text: fmt.Sprintf("the %s did not end within %v", what, limit),
		Hint: option + " raises the limit",
	}
}

func tooSlow(at int64) *fault.Error {
	return &fault.Error{
		Code: fault.Rate, At: at,
		Text: "the record came too slowly while others waited for memory",
		Hint: "Server.MaxMemory raises the limit",
	}
}

// silence returns how long the peer has been silent between records. A peer that takes
// what it is sent is not silent, unless it is only sent beats.
func (c *Conn) silence() time.Duration {
	since := time.Since(c.idle)
	switch at := c.answered.Load(); at {
	case 0:
	case unanswered:
		return 0
	default:
		since = min(since, time.Since(time.Unix(0, at)))
	}
	if c.Beat == nil {
		since = min(since, c.quiet(time.Now()))
	}
	return since
}

// beat calls Beat if it is due, and returns the time until it is due next.
func (c *Conn) beat(now time.Time) (time.Duration, error) {
	if c.Beat == nil {
		return option.Never, nil
	}
	left := time.Duration(0)
	if !c.due.Swap(false) {
		left = c.BeatEvery - c.quiet(now)
	}
	if left > 0 {
		return left, nil
	}
	if err := c.Beat(); err != nil {
		return 0, err
	}
	return c.BeatEvery, c.Flush()
}

// waited decides what follows from a read that has timed out.
func (c *Conn) waited(within bool, h Holder) error {
	limit, option := c.idleLimit()
	switch {
	case within:
		return nil // patience checks the record's time
	case c.draining.Load():
		if c.drainBy.IsZero() {
			return nil // Drain aborted the read
		}
		return ErrDrained
	case c.buf != nil:
		if c.Beat == nil || time.Since(c.idle) >= lingerTime {
			c.release(h)
		}
		return nil
	case c.Patient || c.silence() < limit:
		return nil // a beat was due, or the peer took something
	default:
		f := &fault.Error{Code: fault.Idle, At: c.Offset(), Text: fmt.Sprintf("nothing came for %v", limit)}
		if option != "" {
			f.Hint = option + " raises the limit"
		}
		return f
	}
}

// arm sets the read deadline, unless the current one is about right: setting it costs
// more than letting it pass a little early.
func (c *Conn) arm(now time.Time, wait time.Duration) {
	if left := c.deadline.Sub(now); left > wait/2 && left <= wait && !c.draining.Load() {
		return
	}
	c.deadline = now.Add(wait)
	_ = c.nc.SetReadDeadline(c.deadline) // a failure shows in the read
	if c.draining.Load() && c.drainBy.IsZero() || c.ended.Load() != nil || c.due.Load() {
		_ = c.nc.SetReadDeadline(now) // Drain, End or nudge was called meanwhile
	}
}
