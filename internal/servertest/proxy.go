package servertest

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// A Proxy stands between clients and a server. Its address stays the same, wherever the
// server is, and it can cut them off.
type Proxy struct {
	Addr string

	mu    sync.Mutex
	to    string
	conns map[net.Conn]bool // both ends of each
}

// NewProxy starts a proxy of the server at an address, which ends with the test.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.To("")
		p.Cut()
		serving.Wait()
	})
	return p
}

// To leads connections that come to another server, or, where to is "", nowhere: they are
// closed.
func (p *Proxy) To(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
}

// Cut breaks all connections, in order or by a reset, which may lose what is under way.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok && rand.IntN(2) == 0 {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// carry carries bytes both ways until one of the ends closes.
func (p *Proxy) carry(from net.Conn) {
	defer from.Close()
	p.mu.Lock()
	addr := p.to
	p.mu.Unlock()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	p.mu.Lock()
	moved := p.to != addr // and all connections may have been cut
	if !moved {
		p.conns[from], p.conns[to] = true, true
	}
	p.mu.Unlock()
	if moved {
		return
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
		delete(p.conns, to)
	}()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
	_, _ = io.Copy(to, from)
	_ = to.Close()
	back.Wait()
}
