package dialect

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// A prompt is the part of an output that is written by goroutines that must not wait for
// the peer.
type prompt struct {
	write    func([]byte) (int, error) // to the connection, without waiting; nil: see Prompt
	due      atomic.Bool               // Beat is to be called: SayNow has left something to do
	answered atomic.Int64              // see Answering
}

// unanswered is the time of an answer that is yet to come.
const unanswered = math.MaxInt64

// Prompt reports whether SayNow may be called. It can't if the connection is wrapped, or if
// every write to it may wait.
func (c *Conn) Prompt() bool {
	if c.top != c.nc {
		return false
	}
	if c.write == nil {
		if now, ok := c.nc.(interface{ WriteNow(p []byte) (int, error) }); ok {
			c.write = now.WriteNow
		} else {
			c.write = writerNow(c.nc)
		}
	}
	return c.write != nil
}

// Answering says whether SayNow will be called. Until then, the peer is not silent.
func (c *Conn) Answering(is bool) {
	at := int64(0)
	if is {
		at = unanswered
	}
	c.answered.Store(at)
}

// SayNow writes the waiting output and a message, as far as the peer takes that at once.
// More or SayRest does the rest, and calls Beat, which must say the message if it is not
// outdated. Any goroutine may call it.
func (c *Conn) SayNow(m Message) {
	select {
	case c.mu <- struct{}{}:
		defer c.mu.Unlock()
	default:
		c.nudge()
		return
	}
	now := time.Now()
	c.answered.Store(now.UnixNano())
	if c.broken != nil {
		c.nudge()
		return
	}
	c.out = m.Append(c.out)
	n, err := c.write(c.out)
	c.flushed = now
	if err != nil {
		c.broken = fmt.Errorf("dialect: write: %w", err)
	}
	c.out = c.out[:copy(c.out, c.out[n:])]
	if err != nil || len(c.out) > 0 {
		c.nudge()
	}
}

// SayRest does what SayNow has left to do, if More is not called any more.
func (c *Conn) SayRest() error {
	if c.due.Swap(false) {
		return c.Beat()
	}
	return nil
}

// nudge makes More, which may be reading, call Beat.
func (c *Conn) nudge() {
	if c.answered.Load() == unanswered {
		c.answered.Store(time.Now().UnixNano())
	}
	c.due.Store(true)
	_ = c.nc.SetReadDeadline(time.Now())
}
