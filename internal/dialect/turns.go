package dialect

import (
	"context"

	"github.com/dictwire/dictwire/internal/lease"
)

// begin begins the turn of a goroutine, unless the peer is known.
func (c *Conn) begin(ctx context.Context, t *lease.Turn) error {
	if c.Known() {
		t.Known()
		return nil
	}
	return c.unlessOver(t.Begin(ctx, c.over))
}

// unlessOver returns the error that End was called with if that is why a turn did not
// begin.
func (c *Conn) unlessOver(err error) error {
	if err == lease.ErrStopped {
		return *c.ended.Load()
	}
	return err
}

// Rest ends the turn of the connection's goroutine before it waits.
func (c *Conn) Rest() { c.work.End() }

// A Worker is a goroutine that works for the peer, in turns of its own.
type Worker struct {
	c    *Conn
	turn *lease.Turn
}

// Own returns the worker for the goroutine of the connection.
func (c *Conn) Own() *Worker { return &Worker{c, c.work} }

// Worker returns a worker for another goroutine, for dialects that do several things at
// once on a connection. Any goroutine may call it.
func (c *Conn) Worker() *Worker { return &Worker{c, c.host.Turn()} }

// Begin waits for the goroutine's turn, unless the peer is known.
func (w *Worker) Begin(ctx context.Context) error { return w.c.begin(ctx, w.turn) }

// beginReading is Begin for a goroutine that sends records to a reader.
func (w *Worker) beginReading(ctx context.Context) error {
	if w.c.Known() {
		return w.c.unlessOver(w.turn.BeginReading(ctx, w.c.over))
	}
	return w.Begin(ctx)
}

// BeginLong waits until the goroutine may begin work that takes long, which lasts until
// Rest. The goroutine must not hold memory for building.
func (w *Worker) BeginLong(ctx context.Context) error {
	if w.c.Known() {
		return nil
	}
	return w.BeginAside(ctx)
}

// BeginAside is BeginLong for work that no record waits for, such as a list: known peers
// wait for their turn, too.
func (w *Worker) BeginAside(ctx context.Context) error {
	return w.c.unlessOver(w.turn.BeginLong(ctx, w.c.over))
}

// Rest ends the goroutine's turn before it waits.
func (w *Worker) Rest() { w.turn.End() }
