// Package web is the dialect of HTTP: dictionaries are posted to topics and read from
// them.
//
//	POST /v1/topics/{topic}   one dictionary, an array or a sequence, in any format
//	GET  /v1/topics/{topic}   what is stored and, with follow, what comes
//	DELETE /v1/topics/{topic} the oldest of what is stored
//	POST /v1/cursors/{name}   a reader's position
//	POST /v1/cursors/{name}/reset, /v1/backup
//	GET  /v1/connect          a WebSocket that holds a native session
//	POST /v1/login, /v1/logout  a cookie for a page's EventSource and WebSocket
//	GET  /v1/topics, /v1/cursors, /v1/producers, /v1/status, /healthz, /readyz
//	GET  /                    to browsers, a page that shows what arrives
//
// docs/protocol.md specifies it. Requests are parsed by net/http, over the connection
// that was sniffed. Each opens a session of its own; what is said about memory, time
// and silent peers holds for it as for every other connection.
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

	maxHeader  = 16 << 10         // bytes of a request's head
	headerTime = 10 * time.Second // that it may take
	idleTime   = 2 * time.Minute  // between requests, at most

	// Of a connection of HTTP/2.
	maxStreams  = 100
	headerTable = 4 << 10  // bytes of memory of either side's headers (RFC 7541)
	window      = 64 << 10 // bytes of bodies that have come and nobody has asked for
)

// Options are what the dialect has of its own.
type Options struct {
	AllowOrigins []string        // whose pages may use it
	Filters      dialect.Filters // nil: there are none
}

// Kind returns the dialect with options. The error says which origin is none.
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
	native  dialect.Dialect // within a WebSocket
	guard   *guard
	filters dialect.Filters // nil: there are none
	keys    keys
	logins  logins
}

func newWeb(c dialect.Config, g *guard, filters dialect.Filters) *web {
	d := &web{Config: c, native: native.Kind.New(c), guard: g, filters: filters}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // within TLS, too, which is below
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
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // faults are the peer's, and panics are told by Serve
		BaseContext:       func(l net.Listener) context.Context { return l.(*conn).ctx },
		ConnContext:       func(ctx context.Context, nc net.Conn) context.Context { return context.WithValue(ctx, connKey{}, nc) },
		ConnState: func(nc net.Conn, state http.ConnState) {
			c := nc.(open).conn
			if state == http.StateClosed {
				close(c.done)
			}
			if state == http.StateHijacked { // its handler has not ended yet
				c.taken = true
			}
		},
	}
	return d
}

// Serve serves the requests of one connection. See [dialect.Dialect].
func (d *web) Serve(ctx context.Context, c *dialect.Conn, in dialect.Intake) error {
	if c.Ended() != nil {
		return c.Ended()
	}
	nc := &conn{Conn: c.Hijack(), dw: c, in: in, ctx: ctx, unlistened: make(chan struct{}), done: make(chan struct{})}
	c.SetPatient(false)
	err := d.server.Serve(nc)
	if !nc.accepted { // the server has ended
		return dialect.ErrDrained
	}
	<-nc.done
	nc.finish()
	if nc.socket != nil {
		return nc.socket.serve(ctx, d.native, c, in)
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, nc.failure)
}

// Shutdown waits for the requests that are under way. See [dialect.Dialect].
func (d *web) Shutdown(ctx context.Context) error { return d.server.Shutdown(ctx) }

// handler returns what serves all requests.
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

// routes are what is served, by path and method. openapi.json describes them.
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
