package dialect

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/fault"
)

// Hijack returns the connection, including the bytes that have come, for a dialect that
// reads and writes it by other means, or wraps it:
//
//	c.Wrap(tls.Server(c.Hijack(), config))
//
// Writes to a slow peer are as patient as in Send. They fail by themselves and not by a
// deadline, since a TLS connection is dead after a write that timed out. Until Wrap or
// Return is called, c neither reads nor writes and holds no memory. Draining is up to the
// dialect, and End aborts what is in progress.
func (c *Conn) Hijack() net.Conn {
	_ = c.Flush() // an error shows in what follows
	l := &layer{Conn: c.top, c: c, below: c.layer, turn: make(turn, 1)}
	l.setPatient(true, nil)
	l.pending = append(l.pending, c.Buffered()...)
	c.Discard(len(l.pending))
	c.release(nil)
	c.layer = l
	c.hijacked.Store(true)
	return l
}

// Wrap makes c read and write through nc, which wraps the connection that Hijack
// returned. Deadlines, draining and memory work as before. Offsets count the bytes within
// nc.
func (c *Conn) Wrap(nc net.Conn) {
	c.top = nc
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	c.frames, _ = nc.(Framer)
	c.protocol = Unknown // to be found out within nc
	c.layer.setPatient(false, nil)
	c.lease.Shrink(0) // see Hold
	c.read, c.began, c.deadline = 0, time.Time{}, time.Time{}
	c.hijacked.Store(false)
	if c.draining.Load() || c.ended.Load() != nil { // called meanwhile
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// Return ends what Hijack began, in place of Wrap: c reads and writes as before. Everything
// that has come must have been read.
func (c *Conn) Return() {
	c.layer.setPatient(false, nil)
	c.layer = c.layer.below
	c.deadline = time.Time{}
	c.hijacked.Store(false)
}

// A Framer is a connection that carries messages, as WebSocket does. Each message that is
// said, and each piece of data that follows it, is a message of its own.
type Framer interface {
	net.Conn

	// AppendHeader appends the header of a message of n bytes.
	AppendHeader(dst []byte, text bool, n int) []byte

	// Failed says why CloseWrite will close the connection.
	Failed(f *fault.Error)
}

// Failed says why the connection will be closed, to one that carries messages.
func (c *Conn) Failed(f *fault.Error) {
	if c.frames != nil {
		c.frames.Failed(f)
	}
}

// HasMessages reports whether the connection carries messages.
func (c *Conn) HasMessages() bool { return c.frames != nil }

// Hold leases memory for whatever uses the connection between Hijack and Wrap. Wrap gives
// it back.
func (c *Conn) Hold(ctx context.Context, bytes int64) error { return c.lease.Resize(ctx, bytes) }

// Pressed reports whether others wait for the memory of received bytes.
func (c *Conn) Pressed() bool { return c.rules.Memory.Pressed() }

// SetPatient says whether writes to a hijacked connection are patient, as for a reader:
// see [Conn.Send]. Otherwise they have the time of a reply.
func (c *Conn) SetPatient(is bool) { c.layer.setPatient(is, nil) }

// A layer is a connection below its wrapper.
type layer struct {
	net.Conn
	c       *Conn
	below   *layer // nil for the connection itself
	pending []byte // came before the wrapping; belongs to the reader

	turn    turn // held while writing
	pace    pace // guarded by turn
	patient bool // guarded by turn
}

// setPatient says whether writes are patient from now on, and who waits for them: a worker
// or nil.
func (l *layer) setPatient(is bool, w *Worker) {
	if l.below != nil {
		l.below.setPatient(is, w)
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	l.patient, l.pace = is, newPace(w)
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
	if l.below != nil || l.c.hijacked.Load() {
		return l.Conn.Read(p)
	}
	// A wrapper may read and handle much before it returns anything to More.
	l.c.work.End()
	n, err := l.Conn.Read(p)
	if err == nil {
		err = l.c.begin(context.Background(), l.c.work)
	}
	return n, err
}

// Write implements [net.Conn].
func (l *layer) Write(p []byte) (int, error) {
	if l.below != nil {
		return l.Conn.Write(p)
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	if !l.patient {
		return l.c.promptly(p)
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

// CloseWrite closes the writing side of the connection, if it has one.
func (l *layer) CloseWrite() error {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return os.ErrInvalid
}

// TLS returns the state of the connection's TLS, or nil. It must not be changed.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// wrapped is the state of a Conn's wrapping.
type wrapped struct {
	tls      *tls.ConnectionState
	top      net.Conn    // the outermost wrapper, or the connection itself
	layer    *layer      // below top; nil without a wrapper
	frames   Framer      // top, if it carries messages
	hijacked atomic.Bool // the connection is used by other means
}
