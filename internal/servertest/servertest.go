// Package servertest runs servers for tests: on a port, in memory, or in a process that is
// killed. It reads what they have stored, too.
package servertest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/store/memory"
)

// Start serves a free port of this machine until the test ends, and returns the address.
func Start(t testing.TB, srv *dictwire.Server) (addr string) {
	t.Helper()
	return StartAt(t, srv, dictwire.Endpoint{})
}

// StartAt serves an endpoint until the test ends, and returns the address. An endpoint
// without a listener is at a free port of this machine.
func StartAt(t testing.TB, srv *dictwire.Server, at dictwire.Endpoint) (addr string) {
	t.Helper()
	if at.Listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at.Listener = l
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(at) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := <-served; !errors.Is(err, dictwire.ErrServerClosed) {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return at.Listener.Addr().String()
}

// A Peer is a server in memory, and its clients.
type Peer struct {
	Store *memory.Store
	t     testing.TB
	guest *memnet.Host
}

// InMemory starts a server that stores in memory and is reached there, with a TLS config
// or nil. It ends with the test.
func InMemory(t testing.TB, srv *dictwire.Server, config *tls.Config) *Peer {
	t.Helper()
	n := memnet.New()
	p := &Peer{Store: memory.New(nil), t: t, guest: n.Host("client")}
	srv.Store = p.Store
	StartAt(t, srv, dictwire.Endpoint{Listener: n.Host("server").Listen(), TLS: config})
	return p
}

// Dial connects to the server.
func (p *Peer) Dial() net.Conn {
	p.t.Helper()
	c, err := p.guest.Dial(context.Background(), "server")
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// Say sends parts over a connection of their own, half-closes, and returns what is
// answered.
func (p *Peer) Say(parts ...string) string {
	p.t.Helper()
	c := p.Dial()
	defer c.Close()
	for _, part := range parts {
		_, _ = io.WriteString(c, part) // which may be refused before it is read
	}
	_ = c.(interface{ CloseWrite() error }).CloseWrite()
	told, _ := io.ReadAll(c)
	return string(told)
}

// Stored returns the records of a topic as Python writes them.
func (p *Peer) Stored(topic string) []string {
	p.t.Helper()
	return Texts(p.t, p.Store, topic)
}
