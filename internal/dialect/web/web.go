// Package web is the HTTP dialect: dictionaries are posted to topics and read from them.
//
//	POST /v1/topics/{topic}   one dictionary, an array or a sequence, in any format
//	GET  /v1/topics/{topic}   stored records and, with follow, new ones
//	DELETE /v1/topics/{topic} delete the oldest records
//	POST /v1/cursors/{name}   save a reader's position
//	POST /v1/cursors/{name}/reset, /v1/backup
//	GET  /v1/connect          a WebSocket with a native session
//	POST /v1/login, /v1/logout  a cookie for a page's EventSource and WebSocket
//	GET  /v1/topics, /v1/cursors, /v1/producers, /v1/status, /healthz, /readyz
//	GET  /                    for browsers, a page that shows what arrives
//
// docs/protocol.md specifies it. net/http parses the requests, on the sniffed connection.
// Each request opens a session of its own. The limits on memory, time and silent peers
// apply as for any other connection.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/native"
)

const (
	name = "http"

	maxHeader  = 16 << 10         // bytes of a request's header
	headerTime = 10 * time.Second // for a request's header
	idleTime   = 2 * time.Minute  // between requests
	restAfter  = time.Second      // between requests of HTTP/1: see resting

	// Limits of a connection of HTTP/2.
	maxStreams  = 100
	headerTable = 4 << 10  // bytes of memory for the header table of either side (RFC 7541)
	window      = 64 << 10 // bytes of bodies that have arrived and were not read yet
)

// Options configures the dialect.
type Options struct {
	AllowOrigins []string        // origins whose pages may use the server
	Filters      dialect.Filters // nil: no filters
}

// Kind returns the dialect with options. The error lists invalid origins.
func Kind(o Options) (dialect.Kind, error) {
	g, err := newGuard(o.AllowOrigins)
	return dialect.Kind{
		Name: name, Protocols: []dialect.Protocol{dialect.HTTP}, ALPN: []string{"h2", "http/1.1"},
		New: func(c dialect.Config) dialect.Dialect { return newWeb(c, g, o.Filters) },
	}, err
}

// A web serves HTTP.
type web struct {
	dialect.Config
	server  *http.Server
	native  dialect.Dialect // for WebSockets
	guard   *guard
	filters dialect.Filters // nil: no filters
	keys    keys
	logins  logins

	drained context.Context //nolint:containedctx // ends when the server drains
	drain   context.CancelFunc
}

func newWeb(c dialect.Config, g *guard, filters dialect.Filters) *web {
	d := &web{Config: c, native: native.Kind.New(c), guard: g, filters: filters}
	d.drained, d.drain = context.WithCancel(context.Background())
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // over TLS as well, which is a layer below
	d.server = &http.Server{
		Protocols: &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxDecoderHeaderTableSize:     headerTable,
			MaxEncoderHeaderTableSize:     headerTable,
			MaxReceiveBufferPerConnection: window,
			MaxReceiveBufferPerStream:     window,
		},
		Handler:           d.handler(),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // faults are the peer's, and Serve reports panics
		BaseContext:       func(l net.Listener) context.Context { return l.(*conn).ctx },
		ConnContext:       func(ctx context.Context, nc net.Conn) context.Context { return context.WithValue(ctx, connKey{}, nc) },
		ConnState: func(nc net.Conn, state http.ConnState) {
			c := nc.(open).conn
			switch {
			case state == http.StateClosed:
				close(c.done)
			case state == http.StateHijacked: // its handler is still running
				c.taken = true
			case state == http.StateIdle && c.http1:
				c.phase = idle
			}
		},
	}
	return d
}

// Open serves the requests of one connection, until that ends or is a WebSocket, in which it
// opens a native session. See [dialect.Dialect].
//
// Between requests, a connection of HTTP/1 soon rests: net/http lets go of it, with its
// goroutine and buffers, until more comes.
func (d *web) Open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (dialect.Serving, error) {
	for {
		s, rests, err := d.requests(ctx, c, in)
		if s != nil {
			return s.open(ctx, d.native, c, in)
		}
		if !rests {
			return nil, err
		}
		c.MaxIdle = idleTime - restAfter
		if c.More(ctx, false, nil) != nil {
			return nil, nil //nolint:nilerr // there is no request to answer
		}
		c.MaxIdle = 0
	}
}

// requests serves requests until the connection has ended, rests, or has become a
// WebSocket.
func (d *web) requests(ctx context.Context, c *dialect.Conn, in dialect.Intake) (_ *socket, rests bool, _ error) {
	if c.Ended() != nil {
		return nil, false, c.Ended()
	}
	reads, endReads := context.WithCancel(ctx)
	defer endReads()
	nc := &conn{Conn: c.Hijack(), dw: c, in: in, heads: c.Worker(), reads: reads, endReads: endReads, ctx: ctx, done: make(chan struct{})}
	c.SetPatient(false)
	err := d.server.Serve(nc)
	if !nc.accepted { // the server was closed
		return nil, false, dialect.ErrDrained
	}
	<-nc.done
	nc.finish()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if err = errors.Join(err, nc.failure); nc.phase == resting && err == nil {
		c.Return()
		return nil, true, nil
	}
	return nc.socket, false, err
}

// Shutdown ends the reads that are in progress, and waits for all requests. See
// [dialect.Dialect].
func (d *web) Shutdown(ctx context.Context) error {
	d.drain()
	return d.server.Shutdown(ctx)
}

// handler returns the handler of all requests.
func (d *web) handler() http.Handler {
	mux := http.NewServeMux()
	for path, by := range d.routes() {
		mux.Handle(path, by)
	}
	for path, by := range pages() {
		mux.Handle(path, by)
	}
	mux.Handle("/", handle(notFound))
	return d.each(d.guarded(mux))
}

// routes maps paths to their methods. openapi.json describes them.
func (d *web) routes() map[string]methods {
	return map[string]methods{
		"/healthz":                 {http.MethodGet: d.health},
		"/readyz":                  {http.MethodGet: d.ready},
		"/v1/status":               {http.MethodGet: d.status},
		"/v1/topics":               {http.MethodGet: d.topics},
		"/v1/cursors":              {http.MethodGet: d.cursors},
		"/v1/cursors/{name}":       {http.MethodPost: d.commit},
		"/v1/cursors/{name}/reset": {http.MethodPost: d.reset},
		"/v1/producers":            {http.MethodGet: d.producers},
		"/v1/backup":               {http.MethodPost: d.backup},
		"/v1/topics/{topic}":       {http.MethodGet: d.read, http.MethodPost: d.write, http.MethodDelete: d.trim},
		"/v1/login":                {http.MethodPost: d.login},
		"/v1/logout":               {http.MethodPost: d.logout},
		connectPath:                {http.MethodGet: d.connect},
		"/openapi.json":            {http.MethodGet: d.openapi},
	}
}
