package dialect

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/dictwire/dictwire/fault"
)

// ErrDrained is returned by [Conn.More] when the server is ending and the connection has
// nothing in progress.
var ErrDrained = errors.New("dialect: the server is shutting down")

// Drain makes the connection end at the end of the current record, or at once if there is
// none. Any goroutine may call it.
func (c *Conn) Drain() {
	c.draining.Store(true)
	c.endOnce.Do(func() { close(c.ending) })
	if !c.hijacked.Load() {
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// End makes More and Send return err, even if they are waiting. Only the first call
// counts. Any goroutine may call it.
func (c *Conn) End(err error) {
	if c.ended.CompareAndSwap(nil, &err) {
		close(c.over)
		c.endOnce.Do(func() { close(c.ending) })
		_ = c.nc.SetWriteDeadline(time.Now()) // first, since the reader may then tell the peer why
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// GiveWay ends the connection, as End does, in favour of another one. The peer is told e.
// Any goroutine may call it.
func (c *Conn) GiveWay(e *fault.Error) {
	c.gaveWay.Store(true)
	c.End(e)
}

// GaveWay reports whether the connection was ended by GiveWay.
func (c *Conn) GaveWay() bool { return c.gaveWay.Load() }

// Ending is closed by the first Drain or End.
func (c *Conn) Ending() <-chan struct{} { return c.ending }

// Ended returns the error that End was called with, ErrDrained after Drain, or nil.
func (c *Conn) Ended() error {
	if e := c.ended.Load(); e != nil {
		return *e
	}
	if c.draining.Load() {
		return ErrDrained
	}
	return nil
}

// Recover turns a panic into a fault, so that it ends one call or connection and not the
// server. It must be deferred. The peer is told text; the fault's cause, for the log, is the
// panic with its stack.
func Recover(err *error, text string) {
	if p := recover(); p != nil {
		*err = &fault.Error{Code: fault.Internal, Text: text, At: -1, Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
	}
}

// Abort closes the connection at once. Any goroutine may call it.
func (c *Conn) Abort() error { return c.nc.Close() }
