// Package dictwiretest gives tests a dictwire server, clients of it, and a network
// between them that fails on demand. All of it is in memory, needs no port and no
// file, and works inside a [testing/synctest] bubble, where time-outs and back-offs
// pass at once:
//
//	func TestOrders(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv := dictwiretest.NewServer(t, nil)
//			shop := NewShop(srv.Client) // the code under test
//			srv.Cut()                   // the connection breaks
//			shop.Order("tea")
//			if got := srv.Records("orders"); len(got) != 1 {
//				t.Errorf("stored %v, want one order", got)
//			}
//		})
//	}
//
// What the server is, and what a client does when the network fails, is that of
// package dictwire: nothing is simulated but the network.
package dictwiretest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// Addr is the address of the server, as errors and logs show it. It is reached by
// [Server.Dial] alone.
const Addr = "server"

// A Server is a running [dictwire.Server] that stores in memory. Any number of
// goroutines may use it at once. It ends with the test.
type Server struct {
	// Client is a client of the server. It is closed before the server ends.
	Client *dictwire.Client

	t     testing.TB
	store *memory.Store
	net   *memnet.Network
	host  *memnet.Host // of the server
	guest *memnet.Host // of all clients

	mu      sync.Mutex
	refused bool          // guarded by mu
	delay   time.Duration // guarded by mu
}

// NewServer starts a server with a handler; nil stores only. The test fails where
// that can't be done.
func NewServer(t testing.TB, h dictwire.Handler) *Server {
	t.Helper()
	return New(t, &dictwire.Server{Handler: h})
}

// New starts a configured server, with a store in memory unless it has one: see
// [NewServer]. A store of its own must be a [*memory.Store].
func New(t testing.TB, srv *dictwire.Server) *Server {
	t.Helper()
	n := memnet.New()
	s := &Server{t: t, net: n, host: n.Host(Addr), guest: n.Host("client")}
	if srv.Store == nil {
		srv.Store = memory.New(&memory.Options{KeepBytes: -1})
	}
	var ok bool
	if s.store, ok = srv.Store.(*memory.Store); !ok {
		t.Fatalf("dictwiretest: a store of type %T, want *memory.Store or nil", srv.Store)
	}
	n.SetLink(s.link)
	l := s.host.Listen()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("dictwiretest: %v", err)
		}
		if err := <-done; !errors.Is(err, dictwire.ErrServerClosed) {
			t.Errorf("dictwiretest: the server ended: %v", err)
		}
	})
	s.Client = s.NewClient(dictwire.Dialer{})
	return s
}

// NewClient returns another client of the server, which is closed with the test.
func (s *Server) NewClient(d dictwire.Dialer) *dictwire.Client {
	s.t.Helper()
	d.DialContext = s.Dial
	c, err := d.Dial(context.Background(), Addr)
	if err != nil {
		s.t.Fatalf("dictwiretest: %v", err)
	}
	s.t.Cleanup(func() { _ = c.Close() }) // what is not settled is the test's to check
	return c
}

// Dial connects to the server, whatever the network and the address: it is a
// [dictwire.Dialer.DialContext], and gives a test a bare connection.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	to := Addr
	if s.refused {
		to = "nobody"
	}
	s.mu.Unlock()
	c, err := s.guest.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s *Server) link(string, string) memnet.Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := memnet.Direction{Latency: s.delay}
	return memnet.Link{Up: d, Down: d}
}

// Cut breaks all connections, as a router that restarts does. What is in flight is
// lost. New connections succeed.
func (s *Server) Cut() { s.host.Reset() }

// Swallow makes what is in flight on all connections vanish, and what follows, as
// a firewall that forgot them does: nobody is told. New connections succeed.
func (s *Server) Swallow() { s.host.Swallow() }

// Refuse says whether new connections are refused, as where no server runs.
// Those that are open stay: see [Server.Cut].
func (s *Server) Refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = on
}

// Delay makes bytes of new connections take d, in each direction. Those that are
// open stay as they are.
func (s *Server) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Records returns what a topic holds, oldest first. "_rejected" holds the records
// that were rejected.
func (s *Server) Records(topic string) []*dict.Dict {
	s.t.Helper()
	codecs := map[string]codec.Codec{}
	for _, c := range []codec.Codec{json.Codec{}, cbor.Codec{}, msgpack.Codec{}} {
		codecs[c.Name()] = c
	}
	var all []*dict.Dict
	for batch, err := range s.store.Read(context.Background(), store.Position{}, store.ReadOptions{Topics: []string{topic}}) {
		if err != nil {
			s.t.Fatalf("dictwiretest: read %s: %v", topic, err)
		}
		if batch.Block == nil {
			continue
		}
		for _, record := range batch.Block.Records(batch.At.Index) {
			d, err := codecs[batch.Block.Codec].Decode(record, codec.Limits{})
			if err != nil {
				s.t.Fatalf("dictwiretest: a record of %s: %v", topic, err)
			}
			all = append(all, d.Clone())
		}
	}
	return all
}
