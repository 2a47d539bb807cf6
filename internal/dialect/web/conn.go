package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A conn is a connection as net/http has it. It is also the listener that accepts just
// that one, so that one [http.Server] serves all connections of a server.
type conn struct {
	net.Conn

	dw  *dialect.Conn
	in  dialect.Intake
	ctx context.Context //nolint:containedctx // the connection's, which net/http asks for

	accepted   bool // by the goroutine that serves it
	unlisten   sync.Once
	unlistened chan struct{}

	socket *socket // what has become of it; nil: nothing
	taken  bool    // from net/http

	mu       sync.Mutex
	over     bool           // no more requests are served; guarded by mu
	failure  error          // for the log; guarded by mu
	requests sync.WaitGroup // of HTTP/2

	patience sync.Mutex
	patients int // requests whose answers may take their time; guarded by patience

	reading sync.Mutex    // held during a read of net/http
	writing sync.Mutex    // held during a write of net/http
	closed  atomic.Bool   // by net/http
	done    chan struct{} // closed when net/http has done with it
}

// Accept implements [net.Listener]: it returns the connection, and then waits for its
// end.
func (c *conn) Accept() (net.Conn, error) {
	if !c.accepted {
		c.accepted = true
		return open{c}, nil
	}
	select {
	case <-c.done:
	case <-c.unlistened:
	}
	return nil, net.ErrClosed
}

// Close implements [net.Listener]: nothing more is accepted, and the connection goes on.
func (c *conn) Close() error {
	c.unlisten.Do(func() { close(c.unlistened) })
	return nil
}

// Addr implements [net.Listener].
func (c *conn) Addr() net.Addr { return c.LocalAddr() }

// An open is a conn as a connection.
type open struct{ *conn }

// Close ends the connection for net/http, which may read it. The server closes it.
func (c open) Close() error {
	c.closed.Store(true)
	return c.Conn.SetReadDeadline(time.Now())
}

// SetReadDeadline sets when reads fail: at once after Close.
func (c open) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	if c.closed.Load() {
		return c.Conn.SetReadDeadline(time.Now())
	}
	return err
}

// CloseWrite lets net/http say that no more comes.
func (c open) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Read implements [net.Conn].
func (c open) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Read(p)
}

// Write implements [net.Conn].
func (c open) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.Conn.Write(p)
}

type connKey struct{}

// fail notes what the log is to be told at the connection's end.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
}

// A handle serves a request, or returns why it can't. An *[fault.Error] is told to the
// peer, unless the answer has begun: then the connection ends.
type handle func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP implements [http.Handler].
func (h handle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := requestOf(r)
	defer c.worker.Rest()
	err := h.safely(w, r)
	if r.ContentLength != 0 { // what still comes of the body is read for a moment
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTime))
	}
	var (
		p *problem
		f *fault.Error
	)
	switch {
	case err == nil:
		return
	case errors.As(err, &p):
		tell(w, r, p)
	case errors.As(err, &f):
		if f.Code == fault.Internal || f.Code == fault.Unavailable {
			c.fail(told{f})
			w.Header().Set("Connection", "close") // the log has it at once
		}
		p = &problem{fault: f}
		if errors.Is(f, dialect.ErrMissing) {
			p.status = http.StatusNotFound
		}
		tell(w, r, p)
	case errors.Is(err, errBegun):
		panic(http.ErrAbortHandler) // so that the peer sees that something is missing
	case r.Context().Err() != nil, errors.Is(err, dialect.ErrDrained):
		panic(http.ErrAbortHandler)
	default:
		c.fail(err)
		panic(http.ErrAbortHandler)
	}
}

// safely is h, of which a panic is an error.
func (h handle) safely(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.Error{
				Code: fault.Internal, Text: "internal error", At: -1,
				Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
			}
		}
	}()
	return h(w, r)
}

// restTime is how long the rest of a body may take that nobody wants.
const restTime = time.Second

// errBegun ends a request whose answer has begun, and tells of what went wrong.
var errBegun = errors.New("web: the answer ended early")

// told is a fault that the peer was told, for the log.
type told struct{ f *fault.Error }

func (t told) Error() string {
	if t.f.Err != nil {
		return t.f.Text + ": " + t.f.Err.Error()
	}
	return t.f.Text
}

// methods serves a path, by method.
type methods map[string]handle

// ServeHTTP implements [http.Handler].
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := m[r.Method]
	if r.Method == http.MethodHead {
		h = m[http.MethodGet]
	}
	if h == nil {
		h = m.notAllowed
	}
	h.ServeHTTP(w, r)
}

// notAllowed says which methods there are.
func (m methods) notAllowed(w http.ResponseWriter, r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		if m[method] != nil {
			w.Header().Add("Allow", method)
		}
	}
	return &problem{
		status: http.StatusMethodNotAllowed,
		fault: &fault.Error{
			Code: fault.Unsupported, At: -1,
			Text: fmt.Sprintf("the method %.20q is not served at %.100q", r.Method, r.URL.Path),
			Hint: "the header Allow names those that are",
		},
	}
}

func notFound(_ http.ResponseWriter, r *http.Request) error {
	return &problem{
		status: http.StatusNotFound,
		fault: &fault.Error{
			Code: fault.Unsupported, At: -1,
			Text: fmt.Sprintf("there is nothing at %.100q", r.URL.Path),
			Hint: "POST and GET /v1/topics/{topic} write and read a topic",
		},
	}
}
