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
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/server"
	"github.com/dictwire/dictwire/store"
)

// What is meant where nothing is named.
const (
	DefaultAddr  = address.Default     // of a server
	DefaultTopic = client.DefaultTopic // of records: "default"
)

// A Server receives dictionaries. The zero Server is ready to use. Its fields must not
// be changed once it serves. Limits of zero have the default that is named, negative
// ones mean no limit.
type Server struct {
	Handler        Handler       // sees each record before it is stored; nil: all are stored
	HandlerTimeout time.Duration // of one call, whose context ends then; default 1 minute
	HandlerRetries int           // further calls for a record that Handler fails on; default 10, negative: none
	Authorizer     Authorizer    // says who peers are; nil: all are Anonymous and may do everything

	// Schema returns what checks the records of a topic before Handler sees them, as
	// package schema makes it, or nil. Its error rejects a record. Nil means no check.
	Schema func(topic string) func(*dict.Dict) error

	// Store keeps the records. They are acknowledged, replied to and shown to readers
	// when they are in it. The server does not close it. Nil means the newest 64 MiB in
	// memory.
	Store store.Store

	Topic    string        // of connections that name none; "": DefaultTopic
	Dialects []Dialect     // beside native sessions, bare sequences and frames
	JSON     json.Codec    // how JSON is read and written
	Codecs   []codec.Codec // further formats of native sessions, stored as CBOR
	Limits   codec.Limits  // of one record

	// MaxConns caps the connections that are served at once; default 10,000. Beyond it,
	// those that are silent for longest give way and are told "idle". Where none gives
	// way, new ones wait, or are told "unavailable".
	MaxConns int

	MaxHostConns int // connections of one address, of IPv6 one /64; default 5,000

	// MaxRecordRate and MaxByteRate cap what a principal sends in a second; of
	// [Anonymous], what a host does. Whoever is faster is read more slowly: nothing is
	// refused, but for a request of HTTP that would wait for 10 seconds. Default
	// 20,000,000 records and 4 GiB.
	MaxRecordRate, MaxByteRate int64

	// MaxMemory caps the bytes that the records of all connections take while they are
	// received, decoded, converted and given to readers; default 256 MiB, negative the
	// same. Beyond it, they wait.
	MaxMemory int64

	FirstTimeout  time.Duration // of silence before the first byte; default 5 minutes
	OpenTimeout   time.Duration // of each: what tells the protocol, a TLS handshake, a greeting; default 10 seconds
	IdleTimeout   time.Duration // of silence between records; default 1 hour
	RecordTimeout time.Duration // of one record, from its first byte to its last; default 1 minute
	WriteTimeout  time.Duration // of replies that the peer does not read; default 10 seconds

	BackupDir string // where peers that may administer all topics have a store.Backuper copied; "": nowhere

	Logger *slog.Logger // told of refused records and broken connections, never of contents; nil: nothing

	once sync.Once
	core *server.Server
}

// server returns what does the work.
func (s *Server) server() *server.Server {
	s.once.Do(func() {
		s.core = &server.Server{
			Store: s.Store, Topic: cmp.Or(s.Topic, DefaultTopic), JSON: s.JSON, Codecs: s.Codecs, Limits: s.Limits,
			MaxConns: s.MaxConns, MaxHostConns: s.MaxHostConns, MaxMemory: s.MaxMemory,
			MaxRecordRate: s.MaxRecordRate, MaxByteRate: s.MaxByteRate,
			FirstTimeout: s.FirstTimeout, OpenTimeout: s.OpenTimeout, IdleTimeout: s.IdleTimeout, RecordTimeout: s.RecordTimeout, WriteTimeout: s.WriteTimeout,
			HandlerTimeout: s.HandlerTimeout, HandlerRetries: s.HandlerRetries,
			Schema: s.Schema, Logger: s.Logger, Authorize: authorizeBy(s.Authorizer), BackupDir: s.BackupDir,
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

// A Dialect is a way of putting dictionaries on a connection. The packages below
// dialect have those that a server can learn.
type Dialect interface{ Kind() dialect.Kind }

// An Endpoint is where a server is reached, and the rules there.
type Endpoint struct {
	Listener   net.Listener // closed by Serve
	Dialects   []string     // those that are served: "native", "stream", "framed", "http", …; nil: all
	Authorizer Authorizer   // nil: the server's
	Once       bool         // serve only the first connection that sends something, and not only a greeting

	// TLS is the configuration of TLS, of version 1.2 or newer, which peers have to speak
	// here: see package auth. NextProtos that it lacks are the dialects'. Nil means none.
	TLS           *tls.Config
	PlaintextFrom []netip.Prefix // networks whose peers may do without TLS
}

// endpoint returns e as the server's machinery takes it.
func (e Endpoint) endpoint() server.Endpoint {
	return server.Endpoint{
		Listener: e.Listener, Dialects: e.Dialects, Authorize: authorizeBy(e.Authorizer),
		TLS: e.TLS, Plaintext: e.PlaintextFrom, Once: e.Once,
	}
}

// Serve accepts connections at an endpoint and serves each in a goroutine of its own.
// It returns when the listener fails or the server ends, then with [ErrServerClosed].
// It may be called for several endpoints at once.
func (s *Server) Serve(e Endpoint) error { return s.server().Serve(e.endpoint()) }

// Reload takes over the limits of another Server that can change while this one serves:
// MaxConns, MaxHostConns, MaxRecordRate, MaxByteRate, and the time-outs, which hold for
// connections that come from then on. What else the other one says counts for nothing.
func (s *Server) Reload(from *Server) { s.server().Reload(from.server()) }

// Shutdown ends the server without losing what has come: it stops listening, finishes
// the records that are under way, and closes each connection as soon as it is silent,
// or after a second at the end of a record. When ctx ends first, its error is returned,
// and the connections that are left go on.
func (s *Server) Shutdown(ctx context.Context) error { return s.server().Shutdown(ctx) }

// Close ends the server at once: all connections, and the contexts of all handlers,
// which it waits for.
func (s *Server) Close() error { return s.server().Close() }

// Stats are counters of a server.
type Stats struct {
	Connections int64 // that sent at least one byte
	Records     int64 // stored, rejected ones not included
	Rejected    int64 // records refused, or rejected by the handler
	Bytes       int64 // of the records taken in

	Open       int                  // connections, as of now
	ByDialect  map[string]int64     // connections, by the dialect that they speak
	RejectedBy map[fault.Code]int64 // records, by why

	Receiving, Reading int64 // bytes of memory of records that are received, and given to readers, as of now
}

// Stats returns what the server has seen since it began.
func (s *Server) Stats() Stats { return Stats(s.server().Stats()) }

// Listen listens on addr, which is one of
//
//	host:port   TCP; without host, on all interfaces; 0.0.0.0 means all of IPv4 alone
//	unix:PATH   a Unix socket, which may be left from a dead server; PATH.lock is locked
//	            meanwhile; on Linux, unix:@NAME is an abstract one
//	fd:N        the listening socket that this process has as descriptor N
//
// "" is [DefaultAddr].
func Listen(ctx context.Context, addr string) (net.Listener, error) { return address.Listen(ctx, addr) }
