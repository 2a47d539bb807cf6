// Package memnet is a network in memory for tests: connections between named
// hosts that deliver late, break and swallow as the test says. It needs no file
// descriptors and runs inside a testing/synctest bubble.
package memnet

import (
	"context"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A Network carries connections between its hosts. Any number of goroutines may
// use it at once.
type Network struct {
	mu        sync.Mutex
	link      func(from, to string) Link // guarded by mu
	listeners map[string]*listener       // guarded by mu, by host
	split     bool                       // guarded by mu; nothing gets through
}

// A Link is how a connection behaves. Up is the direction from the host that
// dialed. The zero Link delivers all at once.
type Link struct{ Up, Down Direction }

// A Direction is how one direction of a connection behaves.
type Direction struct {
	Latency  time.Duration // from a write to the read
	MaxRead  int           // bytes that one read returns at most; 0: any number
	CutAfter int64         // the connection breaks after so many bytes; 0: never
	Swallow  bool          // what follows after CutAfter vanishes, and nothing breaks
	Buffer   int           // bytes in flight at most; 0: 256 KiB
}

// New returns a network without hosts, whose connections behave well.
func New() *Network {
	return &Network{listeners: map[string]*listener{}, link: func(_, _ string) Link { return Link{} }}
}

// A Host is a process on the network, until it is killed.
type Host struct {
	n    *Network
	name string

	mu   sync.Mutex
	dead bool
	ends map[*Conn]struct{}
}

// Host returns a new host. One that listens under the same name stays, until the
// new one listens.
func (n *Network) Host(name string) *Host {
	return &Host{n: n, name: name, ends: map[*Conn]struct{}{}}
}

// SetLink sets how the connections behave that are made from now on. f is called
// for one at a time, with the names of the two hosts.
func (n *Network) SetLink(f func(from, to string) Link) { n.mu.Lock(); n.link = f; n.mu.Unlock() }

// Partition says whether new connections are to time out.
func (n *Network) Partition(on bool) { n.mu.Lock(); n.split = on; n.mu.Unlock() }

// Dial connects to the host that listens under the name to.
func (h *Host) Dial(ctx context.Context, to string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	h.n.mu.Lock()
	l, split := h.n.listeners[to], h.n.split
	var link Link
	if l != nil && !split {
		link = h.n.link(h.name, to)
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
	up, down := newPipe(link.Up), newPipe(link.Down)
	c := &Conn{host: h, in: down, out: up, local: address(h.name), remote: address(to)}
	s := &Conn{host: l.host, in: up, out: down, local: address(to), remote: address(h.name)}
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

func (h *Host) add(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dead {
		h.ends[c] = struct{}{}
	}
	return !h.dead
}

// Kill takes the host off the network. Where it loses power, its peers are not
// told, and what it had sent is gone; else they read that, and then the end.
func (h *Host) Kill(power bool) {
	h.mu.Lock()
	h.dead = true
	ends := h.ends
	h.ends = map[*Conn]struct{}{}
	h.mu.Unlock()
	h.n.mu.Lock()
	if l := h.n.listeners[h.name]; l != nil && l.host == h {
		delete(h.n.listeners, h.name)
	}
	h.n.mu.Unlock()
	for c := range ends {
		if power {
			c.out.vanish()
			c.in.vanish()
			c.out.do(func(p *pipe) { p.wfail = net.ErrClosed })
			c.in.do(func(p *pipe) { p.rfail = net.ErrClosed })
		} else {
			_ = c.Close()
		}
	}
}

// open returns the host's ends of its connections.
func (h *Host) open() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.ends))
}

// Hurry ends the delays of all connections of the host. What is swallowed stays
// swallowed.
func (h *Host) Hurry() {
	for _, c := range h.open() {
		for _, p := range []*pipe{c.in, c.out} {
			p.do(func(p *pipe) { p.Latency, p.MaxRead = 0, 0 })
		}
	}
}

// Reset breaks all connections of the host.
func (h *Host) Reset() {
	for _, c := range h.open() {
		for _, p := range []*pipe{c.in, c.out} {
			p.do(func(p *pipe) {
				p.queue, p.held = nil, 0
				p.rfail, p.wfail = fault("read", syscall.ECONNRESET), fault("write", syscall.ECONNRESET)
			})
		}
	}
}

// Swallow makes all that is in flight on the host's connections vanish, and all
// that follows, in both directions. Nobody is told.
func (h *Host) Swallow() {
	for _, c := range h.open() {
		c.in.vanish()
		c.out.vanish()
	}
}

// Listen makes the host reachable under its name.
func (h *Host) Listen() net.Listener {
	l := &listener{host: h, queue: make(chan net.Conn, 4096), done: make(chan struct{})}
	h.n.mu.Lock()
	h.n.listeners[h.name] = l
	h.n.mu.Unlock()
	return l
}

type listener struct {
	host  *Host
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
