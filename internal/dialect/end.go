package dialect

import (
	"errors"
	"time"

	"github.com/dictwire/dictwire/fault"
)

// ErrDrained is what [Conn.More] returns where the server ends and nothing of
// this connection is under way.
var ErrDrained = errors.New("dialect: the server is shutting down")

// Drain makes the connection end at the next record's end: at once if nothing
// is under way. It may be called from any goroutine.
func (c *Conn) Drain() {
	c.draining.Store(true)
	c.endOnce.Do(func() { close(c.ending) })
	if !c.hijacked.Load() {
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// End makes More and Send return err, at once where they wait. It may be called
// from any goroutine, and only the first time counts.
func (c *Conn) End(err error) {
	if c.ended.CompareAndSwap(nil, &err) {
		close(c.over)
		c.endOnce.Do(func() { close(c.ending) })
		_ = c.nc.SetWriteDeadline(time.Now()) // first: whoever reads may tell the peer why
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// GiveWay ends the connection, as End does, in favour of another one: its peer is
// told e, if it listens. It may be called from any goroutine.
func (c *Conn) GiveWay(e *fault.Error) {
	c.gaveWay.Store(true)
	c.End(e)
}

// GaveWay reports whether the connection was ended by GiveWay.
func (c *Conn) GaveWay() bool { return c.gaveWay.Load() }

// Ending is closed by the first Drain or End.
func (c *Conn) Ending() <-chan struct{} { return c.ending }

// Ended returns what End was told, ErrDrained behind Drain, or nil.
func (c *Conn) Ended() error {
	if e := c.ended.Load(); e != nil {
		return *e
	}
	if c.draining.Load() {
		return ErrDrained
	}
	return nil
}

// Abort closes the connection at once. It may be called from any goroutine.
func (c *Conn) Abort() error { return c.nc.Close() }
