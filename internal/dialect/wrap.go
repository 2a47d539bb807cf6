package dialect

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Hijack returns the connection with the bytes that have come, for a dialect that
// reads and writes it by other means, or wraps it:
//
//	c.Wrap(tls.Server(c.Hijack(), config))
//
// The peer may take its time as in Send: a write gives up where that does, and not by
// a deadline, which would leave a TLS connection dead. Until Wrap is called, c is not
// read or written and gives its memory back; it drains where the dialect does, and End
// ends what is under way.
func (c *Conn) Hijack() net.Conn {
	_ = c.Flush() // a connection that is gone fails what follows
	l := &layer{Conn: c.top, c: c, below: c.layer, turn: make(turn, 1)}
	l.setPatient(true)
	l.pending = append(l.pending, c.Buffered()...)
	c.Discard(len(l.pending))
	c.release(nil)
	c.layer = l
	c.hijacked.Store(true)
	return l
}

// Wrap makes c read and write by nc, which wraps what Hijack returned. Deadlines,
// draining and memory are as they were; the offsets of bytes are those within nc.
func (c *Conn) Wrap(nc net.Conn) {
	c.top = nc
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	c.frames, _ = nc.(Framer)
	c.protocol = Unknown // what is within is not known
	c.layer.setPatient(false)
	c.lease.Shrink(0) // see Hold
	c.read, c.began, c.deadline = 0, time.Time{}, time.Time{}
	c.hijacked.Store(false)
	if c.draining.Load() || c.ended.Load() != nil { // which came between
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// A Framer is a connection that carries messages, as WebSocket does. What is said over
// it, and what is sent with that, is a message each.
type Framer interface {
	net.Conn

	// AppendHeader appends what stands before a message of n bytes.
	AppendHeader(dst []byte, text bool, n int) []byte
}

// HasMessages reports whether the connection carries messages.
func (c *Conn) HasMessages() bool { return c.frames != nil }

// Hold waits for memory for what reads and writes the connection between Hijack and
// Wrap, which gives it back.
func (c *Conn) Hold(ctx context.Context, bytes int64) error { return c.lease.Resize(ctx, bytes) }

// Pressed reports whether others wait for such memory.
func (c *Conn) Pressed() bool { return c.rules.Memory.Pressed() }

// SetPatient says whether the peer of a hijacked connection may take its time, as who
// reads records may: see [Conn.Send]. Else it has as long as for a reply.
func (c *Conn) SetPatient(is bool) { c.layer.setPatient(is) }

// A layer is a connection below what wraps it.
type layer struct {
	net.Conn
	c       *Conn
	below   *layer // nil where the connection itself is
	pending []byte // came before it was wrapped; belongs to who reads

	turn    turn // held while writing
	pace    pace // guarded by turn
	patient bool // guarded by turn
}

// setPatient says whether writes are patient from now on.
func (l *layer) setPatient(is bool) {
	if l.below != nil {
		l.below.setPatient(is)
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	l.patient, l.pace = is, newPace()
}

// Read implements [net.Conn].
func (l *layer) Read(p []byte) (int, error) {
	if len(l.pending) > 0 {
		n := copy(p, l.pending)
		if l.pending = l.pending[n:]; len(l.pending) == 0 {
			l.pending = nil
		}
		return n, nil
	}
	return l.Conn.Read(p)
}

// Write implements [net.Conn].
func (l *layer) Write(p []byte) (int, error) {
	if l.below != nil {
		return l.Conn.Write(p)
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	if !l.patient {
		_ = l.Conn.SetWriteDeadline(time.Now().Add(l.c.haste()))
		return l.Conn.Write(p)
	}
	before := l.pace.sent
	err := l.c.patiently(net.Buffers{p}, &l.pace)
	return int(l.pace.sent - before), err
}

// SetDeadline implements [net.Conn].
func (l *layer) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetReadDeadline implements [net.Conn].
func (l *layer) SetReadDeadline(t time.Time) error {
	err := l.Conn.SetReadDeadline(t)
	if l.c.ended.Load() != nil {
		return l.Conn.SetReadDeadline(time.Now())
	}
	return err
}

// SetWriteDeadline changes nothing: see [Conn.Hijack].
func (l *layer) SetWriteDeadline(time.Time) error { return nil }

// CloseWrite closes the connection for writing, where it can be.
func (l *layer) CloseWrite() error {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return os.ErrInvalid
}

// TLS returns the state of the connection's TLS, or nil where there is none. It must not
// be changed.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// wrapped is what a Conn has of its wrapping.
type wrapped struct {
	tls      *tls.ConnectionState
	top      net.Conn    // what is read and written; the connection itself where nothing wraps it
	layer    *layer      // below top; nil where nothing wraps it
	frames   Framer      // top, where it carries messages
	hijacked atomic.Bool // somebody else reads and writes
}
