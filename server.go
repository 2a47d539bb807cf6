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

	"github.com/dictwire/dictwire/access"
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

// A Server receives dictionaries. The zero Server is ready to use. Its fields must not be
// changed once it serves. A zero limit means the default, a negative one no limit.
type Server struct {
	Handler        Handler           // sees each record before it is stored; nil: all are stored
	HandlerTimeout time.Duration     // of one call, by its context; default 1 minute
	HandlerRetries int               // calls after the first one failed for a record; default 10, negative: none
	Authorizer     access.Authorizer // identifies peers; nil: all are store.Anonymous and may do everything

	// Store keeps the records. They are acknowledged, replied to and shown to readers when
	// they are in it. The server does not close it. Nil: the newest 64 MiB, in memory.
	Store store.Store

	Topic    string                                    // of connections that name none; "": "default"
	Dialects []Dialect                                 // in addition to native sessions, bare sequences and frames
	JSON     json.Codec                                // how JSON is read and written
	Codecs   []codec.Codec                             // further formats of native sessions, stored as CBOR
	Limits   codec.Limits                              // of one record
	Schema   func(topic string) func(*dict.Dict) error // returns nil, or a check before Handler, whose error rejects a record: see package schema

	// MaxConns caps open connections; default 10,000. Beyond it, those that are silent for
	// longest are closed as "idle"; if there are none, new ones wait or are "unavailable".
	MaxConns     int
	MaxHostConns int // open connections of one IPv4 address or IPv6 /64; default 5,000

	// Rates per second of a principal, or of an anonymous host, beyond which it is read more
	// slowly. An HTTP request fails if it would wait for 10 seconds.
	MaxRecordRate int64 // default 20,000,000 records
	MaxByteRate   int64 // default 4 GiB

	MaxMemory     int64         // bytes of records being received, decoded, converted and read, which wait beyond it; default and negative 256 MiB
	FirstTimeout  time.Duration // of silence before the first byte; default 5 minutes
	OpenTimeout   time.Duration // of each: the protocol's first bytes, a TLS handshake, a greeting; default 10 seconds
	IdleTimeout   time.Duration // of silence between records; default 1 hour
	RecordTimeout time.Duration // of one record, from its first byte to its last; default 1 minute
	WriteTimeout  time.Duration // of replies that the peer does not read; default 10 seconds

	BackupDir string       // where a store.Backuper is copied for peers with access.Admin of "*"; "": nowhere
	Version   string       // of the program, told to peers with access.Admin of "*"; "": it is not told
	Logger    *slog.Logger // of refused records and broken connections, without contents; nil: none

	once sync.Once
	core *server.Server
}

// server returns the server of package server.
func (s *Server) server() *server.Server {
	s.once.Do(func() {
		s.core = &server.Server{
			Store: s.Store, Topic: cmp.Or(s.Topic, client.DefaultTopic), JSON: s.JSON, Codecs: s.Codecs, Limits: s.Limits,
			MaxConns: s.MaxConns, MaxHostConns: s.MaxHostConns, MaxMemory: s.MaxMemory,
			MaxRecordRate: s.MaxRecordRate, MaxByteRate: s.MaxByteRate,
			FirstTimeout: s.FirstTimeout, OpenTimeout: s.OpenTimeout, IdleTimeout: s.IdleTimeout, RecordTimeout: s.RecordTimeout, WriteTimeout: s.WriteTimeout,
			HandlerTimeout: s.HandlerTimeout, HandlerRetries: s.HandlerRetries,
			Schema: s.Schema, Logger: s.Logger, Authorize: s.Authorizer, BackupDir: s.BackupDir, Version: s.Version,
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
		Codec: r.Codec, Dialect: r.Dialect, Topic: r.Topic, Principal: r.Principal, Producer: r.Producer, Number: r.Number,
		RemoteAddr: r.RemoteAddr, Bytes: r.Bytes, limits: r.Limits, dict: r.Decoded,
	})
}

// ListenAndServe calls [Listen] and Serve.
func (s *Server) ListenAndServe(addr string) error {
	l, err := Listen(context.Background(), addr)
	if err != nil {
		return err
	}
	return s.Serve(Endpoint{Listener: l})
}

// A Dialect puts dictionaries on a connection: see the packages below dialect.
type Dialect interface{ Kind() dialect.Kind }

// An Endpoint is a listener with the rules for its connections.
type Endpoint struct {
	Listener      net.Listener      // closed by Serve
	Dialects      []string          // names of those served: "native", "stream", "framed", "http", …; nil: all
	Authorizer    access.Authorizer // nil: the server's
	Once          bool              // serve only the first connection that sends more than a greeting
	TLS           *tls.Config       // 1.2 or newer, see package auth; dialects add missing NextProtos; nil: no TLS
	PlaintextFrom []netip.Prefix    // networks whose peers need no TLS
}

// endpoint converts e for package server.
func (e Endpoint) endpoint() server.Endpoint {
	return server.Endpoint{
		Listener: e.Listener, Dialects: e.Dialects, Authorize: e.Authorizer,
		TLS: e.TLS, Plaintext: e.PlaintextFrom, Once: e.Once,
	}
}

// Serve serves each connection in a goroutine, until the listener fails or, with
// [ErrServerClosed], the server ends. It may be called for several endpoints.
func (s *Server) Serve(e Endpoint) error { return s.server().Serve(e.endpoint()) }

// Reload takes MaxConns, MaxHostConns, MaxRecordRate, MaxByteRate and the timeouts, for
// future connections, from another Server.
func (s *Server) Reload(from *Server) { s.server().Reload(from.server()) }

// Shutdown stops listening, finishes records in progress, and closes each connection once it
// is silent, or after a second at a record's end. Nothing received is lost. If ctx ends
// first, its error is returned, and the remaining connections go on.
func (s *Server) Shutdown(ctx context.Context) error { return s.server().Shutdown(ctx) }

// Close ends all connections and handler contexts, and waits for handlers.
func (s *Server) Close() error { return s.server().Close() }

// Stats are counters of a server since it began.
type Stats struct {
	Connections, Open        int64                // that sent at least one byte; open now
	Records, Rejected, Bytes int64                // stored; rejected by the server or the handler; bytes of both
	Receiving, Reading       int64                // bytes of memory of records being received, and being read, now
	ByDialect                map[string]int64     // connections
	RejectedBy               map[fault.Code]int64 // records
}

// Stats returns the server's counters.
func (s *Server) Stats() Stats { return Stats(s.server().Stats()) }

// Listen listens on addr; "" is 127.0.0.1:65432:
//
//	host:port   TCP; without host on all interfaces; 0.0.0.0 means all of IPv4 only
//	unix:PATH   a Unix socket, with the lock PATH.lock; on Linux, unix:@NAME is abstract
//	fd:N        the listening socket that this process has as descriptor N
func Listen(ctx context.Context, addr string) (net.Listener, error) { return address.Listen(ctx, addr) }
