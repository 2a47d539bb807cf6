package simulate

import (
	"context"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A network carries connections between hosts, in memory. It delivers late, cuts
// and swallows as the fates of the connections say.
type network struct {
	// fate says what becomes of the next connection from one host to another.
	fate func(from, to string) fate

	mu        sync.Mutex
	listeners map[string]*listener // by host
	split     bool                 // nothing gets through
}

// A fate is what becomes of a connection: up is from the client to the server.
type fate struct{ up, down way }

// A way is what becomes of one direction of a connection.
type way struct {
	lag   time.Duration // how long bytes take
	chop  int           // bytes that are read at once, at most; 0: any
	cut   int64         // the connection breaks behind so many bytes; 0: never
	quiet bool          // it does not break: what follows vanishes
	limit int           // bytes that are on the way at most; 0: 256 KiB
}

func newNetwork() *network {
	return &network{listeners: map[string]*listener{}, fate: func(_, _ string) fate { return fate{} }}
}

// A host is a process on the network, until it dies.
type host struct {
	n    *network
	name string

	mu   sync.Mutex
	dead bool
	ends map[*end]struct{}
}

func (n *network) host(name string) *host {
	return &host{n: n, name: name, ends: map[*end]struct{}{}}
}

func (n *network) partition(is bool) { n.mu.Lock(); n.split = is; n.mu.Unlock() }

// dial connects to another host.
func (h *host) dial(ctx context.Context, to string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	h.n.mu.Lock()
	l, split := h.n.listeners[to], h.n.split
	var f fate
	if l != nil && !split {
		f = h.n.fate(h.name, to)
	}
	h.n.mu.Unlock()
	if split {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(3 * time.Second):
			return nil, fault("dial", syscall.ETIMEDOUT)
		}
	}
	if l == nil {
		return nil, fault("dial", syscall.ECONNREFUSED)
	}
	up, down := newPipe(f.up), newPipe(f.down)
	c := &end{host: h, in: down, out: up, local: address(h.name), remote: address(to)}
	s := &end{host: l.host, in: up, out: down, local: address(to), remote: address(h.name)}
	up.broken = func() { c.breakOff(s) }
	down.broken = func() { s.breakOff(c) }
	if !h.add(c) {
		return nil, fault("dial", syscall.ENETDOWN)
	}
	if !l.host.add(s) || !l.offer(s) {
		_ = c.Close()
		return nil, fault("dial", syscall.ECONNREFUSED)
	}
	return c, nil
}

func (h *host) add(e *end) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dead {
		h.ends[e] = struct{}{}
	}
	return !h.dead
}

// die takes the host off the network. After a power failure its peers are not
// told, and what it had sent is gone; else they read that, and an end.
func (h *host) die(power bool) {
	h.mu.Lock()
	h.dead = true
	ends := h.ends
	h.ends = map[*end]struct{}{}
	h.mu.Unlock()
	h.n.mu.Lock()
	if l := h.n.listeners[h.name]; l != nil && l.host == h {
		delete(h.n.listeners, h.name)
	}
	h.n.mu.Unlock()
	for e := range ends {
		if power {
			e.out.vanish()
			e.in.vanish()
			e.out.do(func(p *pipe) { p.wfail = net.ErrClosed })
			e.in.do(func(p *pipe) { p.rfail = net.ErrClosed })
		} else {
			_ = e.Close()
		}
	}
}

// open returns the host's ends of its connections.
func (h *host) open() []*end {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.ends))
}

// hurry ends the delays of all connections of the host. What is swallowed stays
// so.
func (h *host) hurry() {
	for _, e := range h.open() {
		for _, p := range []*pipe{e.in, e.out} {
			p.do(func(p *pipe) { p.lag, p.chop = 0, 0 })
		}
	}
}

// breakAll breaks all connections of the host.
func (h *host) breakAll() {
	for _, e := range h.open() {
		for _, p := range []*pipe{e.in, e.out} {
			p.do(func(p *pipe) {
				p.queue, p.held = nil, 0
				p.rfail, p.wfail = fault("read", syscall.ECONNRESET), fault("write", syscall.ECONNRESET)
			})
		}
	}
}

// listen makes the host reachable under its name.
func (h *host) listen() net.Listener {
	l := &listener{host: h, queue: make(chan net.Conn, 4096), done: make(chan struct{})}
	h.n.mu.Lock()
	h.n.listeners[h.name] = l
	h.n.mu.Unlock()
	return l
}

type listener struct {
	host  *host
	queue chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *listener) offer(c net.Conn) bool {
	select {
	case <-l.done:
		return false
	default:
	}
	select {
	case l.queue <- c:
		return true
	default:
		return false
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.host.n.mu.Lock()
		if l.host.n.listeners[l.host.name] == l {
			delete(l.host.n.listeners, l.host.name)
		}
		l.host.n.mu.Unlock()
	})
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.host.name) }

type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }

func fault(op string, e syscall.Errno) error {
	return &net.OpError{Op: op, Net: "memory", Err: os.NewSyscallError(op, e)}
}

// An end is one end of a connection.
type end struct {
	host          *host
	in, out       *pipe
	local, remote address
}

func (e *end) Read(b []byte) (int, error)  { return e.in.read(b) }
func (e *end) Write(b []byte) (int, error) { return e.out.write(b) }
func (e *end) LocalAddr() net.Addr         { return e.local }
func (e *end) RemoteAddr() net.Addr        { return e.remote }

func (e *end) Close() error {
	e.host.mu.Lock()
	delete(e.host.ends, e)
	e.host.mu.Unlock()
	e.out.do(func(p *pipe) { p.eof, p.wfail = true, net.ErrClosed })
	e.in.do(func(p *pipe) {
		p.queue, p.held = nil, 0
		p.rfail = net.ErrClosed
		if p.wfail == nil {
			p.wfail = fault("write", syscall.EPIPE)
		}
	})
	return nil
}

func (e *end) CloseWrite() error {
	e.out.do(func(p *pipe) { p.eof = true })
	return nil
}

// breakOff breaks the connection behind what e has sent: e is told at once, and
// hears nothing more; its peer is told behind the last byte, until when it
// speaks to nobody.
func (e *end) breakOff(peer *end) {
	reset := fault("read", syscall.ECONNRESET)
	e.in.vanish()
	e.in.do(func(p *pipe) { p.rfail = reset })
	e.out.do(func(p *pipe) {
		p.wfail = fault("write", syscall.ECONNRESET)
		p.last = func() { peer.out.do(func(p *pipe) { p.wfail = fault("write", syscall.ECONNRESET) }) }
	})
}

func (e *end) SetDeadline(t time.Time) error {
	return firstOf(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.in.do(func(p *pipe) { p.readBy.set(p, t) })
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.do(func(p *pipe) { p.writeBy.set(p, t) })
	return nil
}

// A pipe is one direction of a connection.
type pipe struct {
	way
	broken func() // breaks the connection; called once, behind the way's last byte

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

func newPipe(w way) *pipe {
	if w.limit == 0 {
		w.limit = 256 << 10
	}
	p := &pipe{way: w}
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

func (p *pipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.wfail != nil:
			return n, p.wfail
		case p.eof:
			return n, net.ErrClosed
		case p.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		k := min(len(b)-n, p.limit-p.held)
		if k <= 0 {
			p.cond.Wait()
			continue
		}
		breaks := p.cut > 0 && !p.gone && p.total+int64(k) >= p.cut
		if breaks {
			k = int(p.cut - p.total)
		}
		if !p.gone {
			p.queue = append(p.queue, segment{append([]byte(nil), b[n:n+k]...), time.Now().Add(p.lag)})
			p.held += k
		}
		n += k
		p.total += int64(k)
		p.cond.Broadcast()
		if breaks && p.quiet {
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
			if p.chop > 0 {
				n = min(n, p.chop)
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
