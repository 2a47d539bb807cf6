package dialect

import (
	"context"

	"github.com/dictwire/dictwire/internal/lease"
)

// begin begins a goroutine's turn, where it needs one.
func (c *Conn) begin(ctx context.Context, t *lease.Turn) error {
	if c.Known() {
		t.Known()
		return nil
	}
	return c.unlessOver(t.Begin(ctx, c.over))
}

// unlessOver returns what End was told where that is why a turn did not begin.
func (c *Conn) unlessOver(err error) error {
	if err == lease.ErrStopped {
		return *c.ended.Load()
	}
	return err
}

// Rest ends the turn of the connection's goroutine, which is about to wait.
func (c *Conn) Rest() { c.work.End() }

// A Worker is a goroutine that does what the peer asks for, in turns of its own.
type Worker struct {
	c    *Conn
	turn *lease.Turn
}

// Own returns the worker that is the connection's goroutine.
func (c *Conn) Own() *Worker { return &Worker{c, c.work} }

// Worker returns a worker that is another goroutine, for a dialect that does several
// things of a connection at once. Any goroutine may call it.
func (c *Conn) Worker() *Worker { return &Worker{c, c.host.Turn()} }

// Begin waits for the goroutine's turn, where it needs one.
func (w *Worker) Begin(ctx context.Context) error { return w.c.begin(ctx, w.turn) }

// BeginLong waits until the goroutine may do what may take long, until Rest. It must
// hold no memory for building.
func (w *Worker) BeginLong(ctx context.Context) error {
	if w.c.Known() {
		return nil
	}
	return w.c.unlessOver(w.turn.BeginLong(ctx, w.c.over))
}

// Rest ends the goroutine's turn. It is about to wait.
func (w *Worker) Rest() { w.turn.End() }
