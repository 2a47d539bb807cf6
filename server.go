package dictwire

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/server"
	"github.com/dictwire/dictwire/store"
)

// DefaultAddr is the address that a server listens on, and a client connects
// to, where none is given.
const DefaultAddr = address.Default

// DefaultTopic is where records go whose sender names no topic: "default".
const DefaultTopic = client.DefaultTopic

// ErrServerClosed is what Serve, ServeOne and ListenAndServe return after
// [Server.Shutdown] or [Server.Close].
var ErrServerClosed = server.ErrClosed

// A Server receives dictionaries. The zero Server is ready to use. Its fields
// must not be changed once it serves.
type Server struct {
	// Handler sees each dictionary before it is stored. Nil lets all of them
	// in.
	Handler Handler

	// HandlerTimeout is how long one call of Handler may take until its context ends.
	// Zero means 1 minute, negative no limit.
	HandlerTimeout time.Duration

	// HandlerRetries is how often Handler is called again for a record that it has
	// failed on, after pauses of 50 milliseconds to 5 seconds. Zero means 10,
	// negative never.
	HandlerRetries int

	// Authorizer says who the peers are and what they may do. Nil admits all, as
	// [Anonymous], to everything.
	Authorizer Authorizer

	// Store keeps the records. The server does not close it. Nil means the
	// newest 64 MiB of them in memory: see store/memory. Records are
	// acknowledged, replied to and shown to readers when they are in it.
	Store store.Store

	// Topic is where the records of connections go that name none. Empty means
	// [DefaultTopic].
	Topic string

	// Dialects are what the server speaks beside native sessions and bare sequences,
	// as web.Dialect of package dialect/web.
	Dialects []Dialect

	// JSON is how JSON is read and written.
	JSON json.Codec

	// Codecs are formats of native sessions beside those that every server has. Records
	// that come in them are stored as CBOR.
	Codecs []codec.Codec

	// Limits bound one record.
	Limits codec.Limits

	// MaxConns caps the connections that are served at once. Where more come,
	// silent ones give way to them and are told "idle": first those that have
	// not opened a session within a second, then the one that has been silent
	// for the longest, a second at least. Those of the host with the fewest
	// connections are served first; where its host has fewer, a tenth of a second
	// without a session is enough. Where none gives way, the next ones wait, and of
	// a crowd of hosts those with the most connections are told "unavailable".
	// Zero means 10,000, negative no limit.
	MaxConns int

	// MaxMemory caps the bytes of memory that records take while they are
	// received, decoded, converted and given to readers, for all connections
	// together: five eighths of it are for what is received, a quarter for what is
	// built of that, an eighth for readers. Beyond it they wait, and one large
	// record at a time is received, built and given out. Zero means 256 MiB.
	MaxMemory int64

	// IdleTimeout is how long a connection may be silent between records. Zero
	// means 1 hour, negative no limit.
	IdleTimeout time.Duration

	// RecordTimeout is how long one record may take from its first byte to its
	// last. Zero means 1 minute, negative no limit.
	RecordTimeout time.Duration

	// WriteTimeout is how long the peer may leave its replies unread. Zero means
	// 10 seconds, negative no limit.
	WriteTimeout time.Duration

	// Logger is told of refused records and broken connections, never of their
	// contents. Nil means that nothing is logged.
	Logger *slog.Logger

	once sync.Once
	core *server.Server
}

// server returns what does the work.
func (s *Server) server() *server.Server {
	s.once.Do(func() {
		s.core = &server.Server{
			Store: s.Store, Topic: cmp.Or(s.Topic, DefaultTopic), JSON: s.JSON, Codecs: s.Codecs, Limits: s.Limits,
			MaxConns: s.MaxConns, MaxMemory: s.MaxMemory,
			IdleTimeout: s.IdleTimeout, RecordTimeout: s.RecordTimeout, WriteTimeout: s.WriteTimeout,
			HandlerTimeout: s.HandlerTimeout, HandlerRetries: s.HandlerRetries,
			Logger: s.Logger, Authorize: authorizeBy(s.Authorizer),
		}
		for _, d := range s.Dialects {
			s.core.Dialects = append(s.core.Dialects, d.Kind())
		}
		if s.Handler != nil {
			s.core.Handler = s.handle
		}
	})
	return s.core
}

// handle calls the handler.
func (s *Server) handle(ctx context.Context, r server.Request) (*dict.Dict, error) {
	return s.Handler.Handle(ctx, &Request{
		Codec: r.Codec, Dialect: r.Dialect, Topic: r.Topic, Principal: Principal(r.Principal), Producer: r.Producer, Number: r.Number,
		RemoteAddr: r.RemoteAddr, Bytes: r.Bytes, limits: r.Limits, dict: r.Decoded,
	})
}

// ListenAndServe listens on addr, as [Listen] understands it, and serves.
func (s *Server) ListenAndServe(addr string) error {
	l, err := Listen(context.Background(), addr)
	if err != nil {
		return err
	}
	return s.Serve(Endpoint{Listener: l})
}

// A Dialect is a way of putting dictionaries on a connection that a server can learn.
// The packages below dialect have them.
type Dialect interface{ Kind() dialect.Kind }

// An Endpoint is where a server is reached, and the rules there.
type Endpoint struct {
	// Listener accepts the connections. Serve closes it.
	Listener net.Listener

	// Dialects are the names of those that are served here: "native", "stream", and
	// "http" where Server.Dialects has it. None means all.
	Dialects []string

	// Authorizer says who the peers are here and what they may do. Nil means the
	// server's.
	Authorizer Authorizer

	// TLS is the configuration of TLS, of version 1.2 or newer, as package auth reads it
	// from files. Peers speak TLS at this endpoint, or are told that they have to, before
	// anything of what they say is taken. Where it names no NextProtos, they are those of
	// the dialects. Nil means that there is no TLS here.
	TLS *tls.Config

	// PlaintextFrom are the networks from which peers may speak TLS or not.
	PlaintextFrom []netip.Prefix
}

// endpoint returns e as the server's machinery takes it.
func (e Endpoint) endpoint() server.Endpoint {
	return server.Endpoint{
		Listener: e.Listener, Dialects: e.Dialects, Authorize: authorizeBy(e.Authorizer),
		TLS: e.TLS, Plaintext: e.PlaintextFrom,
	}
}

// Serve accepts connections at an endpoint and serves each in a goroutine of its own.
// It closes the listener and returns when that fails or the server ends, then with
// [ErrServerClosed]. It may be called for several endpoints at once, each with its own
// rules.
func (s *Server) Serve(e Endpoint) error { return s.server().Serve(e.endpoint()) }

// ServeOne serves the first connection at an endpoint that sends something, and returns
// when it has ended. Connections that end without a byte do not count, nor do native
// sessions that only greet, as [Dial] does; others are closed. It closes the listener
// when there is the one, or as Serve does.
func (s *Server) ServeOne(e Endpoint) error { return s.server().ServeOne(e.endpoint()) }

// Shutdown ends the server without losing what has come: it stops listening,
// finishes the records that are under way, closes each connection as soon as it
// is silent or a second later at the end of a record, and returns when all are
// closed. When ctx ends first, it returns ctx's error, and the connections that
// are left go on: see [Server.Close].
func (s *Server) Shutdown(ctx context.Context) error { return s.server().Shutdown(ctx) }

// Close ends the server at once: it closes all listeners and connections, ends
// the context of all handlers, and waits for them.
func (s *Server) Close() error { return s.server().Close() }

// Stats is what a server has seen since it began.
type Stats struct {
	Connections int64 // that sent at least one byte
	Records     int64 // dictionaries that were stored, rejected ones not included
	Rejected    int64 // records that were refused, or rejected by the handler
	Bytes       int64 // of the records that were taken in
}

// Stats returns what the server has seen since it began.
func (s *Server) Stats() Stats { return Stats(s.server().Stats()) }

// Listen listens on addr, which is one of
//
//	host:port   TCP; host may be empty for all interfaces, port 0 for a free one;
//	            0.0.0.0 means all of IPv4, and no IPv6; [::1]:65432 is an IPv6 address
//	unix:PATH   a Unix socket; one that a dead server left behind is replaced, and
//	            the file PATH.lock is locked for as long as a server listens;
//	            on Linux, unix:@NAME is an abstract one, which is no file
//	fd:N        a listening socket that this process was given as descriptor N
//
// The empty addr is [DefaultAddr].
func Listen(ctx context.Context, addr string) (net.Listener, error) { return address.Listen(ctx, addr) }
