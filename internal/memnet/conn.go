package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is one end of a connection.
type Conn struct {
	host          *Host
	in, out       *pipe
	local, remote address
}

// Written returns how many bytes were written by this end and by the other one.
func (c *Conn) Written() (here, there int64) {
	c.out.do(func(p *pipe) { here = p.total })
	c.in.do(func(p *pipe) { there = p.total })
	return here, there
}

// Read implements [net.Conn].
func (c *Conn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write implements [net.Conn].
func (c *Conn) Write(b []byte) (int, error) { return c.out.write(b, true) }

// WriteNow writes as much as there is room for.
func (c *Conn) WriteNow(b []byte) (int, error) { return c.out.write(b, false) }

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Close implements [net.Conn].
func (c *Conn) Close() error {
	c.host.mu.Lock()
	delete(c.host.ends, c)
	c.host.mu.Unlock()
	c.out.do(func(p *pipe) { p.eof, p.wfail = true, net.ErrClosed })
	c.in.do(func(p *pipe) {
		p.queue, p.held = nil, 0
		p.rfail = net.ErrClosed
		if p.wfail == nil {
			p.wfail = fault("write", syscall.EPIPE)
		}
	})
	return nil
}

// CloseWrite ends what this end says: the other one reads the end after the last
// byte.
func (c *Conn) CloseWrite() error {
	c.out.do(func(p *pipe) { p.eof = true })
	return nil
}

// breakOff breaks the connection after what c has sent: c is told at once, and
// hears nothing more; its peer is told after the last byte, until when it speaks
// to nobody.
func (c *Conn) breakOff(peer *Conn) {
	reset := fault("read", syscall.ECONNRESET)
	c.in.vanish()
	c.in.do(func(p *pipe) { p.rfail = reset })
	c.out.do(func(p *pipe) {
		p.wfail = fault("write", syscall.ECONNRESET)
		p.last = func() { peer.out.do(func(p *pipe) { p.wfail = fault("write", syscall.ECONNRESET) }) }
	})
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.do(func(p *pipe) { p.readBy.set(p, t) })
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.do(func(p *pipe) { p.writeBy.set(p, t) })
	return nil
}

// A pipe is one direction of a connection.
type pipe struct {
	Direction
	broken func() // breaks the connection; called once, after the last byte that gets through

	mu      sync.Mutex
	cond    *sync.Cond
	queue   []segment
	held    int   // bytes in queue
	total   int64 // bytes that were written
	gone    bool  // what is written vanishes
	eof     bool  // nothing more is written
	rfail   error // what the reader is told at once
	wfail   error // what the writer is told
	last    func()
	readBy  deadline
	writeBy deadline
}

// A segment is bytes that arrive at a time.
type segment struct {
	data []byte
	at   time.Time
}

func newPipe(d Direction) *pipe {
	if d.Buffer == 0 {
		d.Buffer = 256 << 10
	}
	p := &pipe{Direction: d}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// do changes the pipe's state and wakes those who wait.
func (p *pipe) do(f func(*pipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
	p.cond.Broadcast()
}

// vanish drops what is on the way, and all that follows.
func (p *pipe) vanish() {
	p.do(func(p *pipe) { p.queue, p.held, p.gone = nil, 0, true })
}

func (p *pipe) write(b []byte, wait bool) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.wfail != nil:
			return n, p.wfail
		case p.eof:
			return n, net.ErrClosed
		case wait && p.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		k := min(len(b)-n, p.Buffer-p.held)
		if k <= 0 && !wait {
			return n, nil
		}
		if k <= 0 {
			p.cond.Wait()
			continue
		}
		breaks := p.CutAfter > 0 && !p.gone && p.total+int64(k) >= p.CutAfter
		if breaks {
			k = int(p.CutAfter - p.total)
		}
		if !p.gone {
			p.queue = append(p.queue, segment{append([]byte(nil), b[n:n+k]...), time.Now().Add(p.Latency)})
			p.held += k
		}
		n += k
		p.total += int64(k)
		p.cond.Broadcast()
		if breaks && p.Swallow {
			p.gone = true
		} else if breaks {
			p.gone = true
			p.mu.Unlock()
			p.broken()
			p.mu.Lock()
		}
	}
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.rfail != nil:
			return 0, p.rfail
		case p.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case len(p.queue) > 0:
			s := &p.queue[0]
			if wait := time.Until(s.at); wait > 0 {
				t := time.AfterFunc(wait, p.wake)
				p.cond.Wait()
				t.Stop()
				continue
			}
			n := len(b)
			if p.MaxRead > 0 {
				n = min(n, p.MaxRead)
			}
			n = copy(b[:n], s.data)
			if s.data = s.data[n:]; len(s.data) == 0 {
				p.queue = p.queue[1:]
			}
			p.held -= n
			p.cond.Broadcast()
			return n, nil
		case p.last != nil:
			f := p.last
			p.mu.Unlock()
			f()
			p.mu.Lock()
			return 0, fault("read", syscall.ECONNRESET)
		case p.eof && !p.gone:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

func (p *pipe) wake() { p.do(func(*pipe) {}) }

// A deadline is one of net.Conn.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(p *pipe, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = t; !t.IsZero() {
		if wait := time.Until(t); wait > 0 {
			d.timer = time.AfterFunc(wait, p.wake)
		}
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
