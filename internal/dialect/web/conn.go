package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A conn adapts a connection for net/http. It is also a listener that accepts just that
// connection, so that one [http.Server] can serve all connections.
type conn struct {
	net.Conn

	dw  *dialect.Conn
	in  dialect.Intake
	ctx context.Context //nolint:containedctx // the connection's, which net/http asks for

	accepted bool // used only by the goroutine that serves the connection

	socket *socket // the WebSocket that the connection has become, or nil
	taken  bool    // taken over from net/http

	// For HTTP/1 only, and used by the goroutine of net/http that serves it.
	http1 bool // there was a request
	phase phase
	until time.Time // the deadline that net/http wants between requests

	mu       sync.Mutex
	over     bool           // no more requests are served; guarded by mu
	failure  error          // for the log; guarded by mu
	requests sync.WaitGroup // in progress, over HTTP/2

	patience sync.Mutex
	patients int // requests whose peer may read its answer slowly; guarded by patience

	reading  sync.Mutex         // held while net/http reads
	heads    *dialect.Worker    // for what net/http reads outside of the handlers of HTTP/1
	began    bool               // the first bytes, which had their turn, were read; guarded by reading
	handled  atomic.Bool        // a handler of HTTP/1 runs
	reads    context.Context    //nolint:containedctx // ends a read's wait for its turn
	endReads context.CancelFunc // called by Close
	writing  sync.Mutex         // held while net/http writes
	closed   atomic.Bool        // by net/http
	done     chan struct{}      // closed when net/http is done with it
}

// Accept implements [net.Listener]. It returns the connection, once.
func (c *conn) Accept() (net.Conn, error) {
	if c.accepted {
		return nil, net.ErrClosed
	}
	c.accepted = true
	return open{c}, nil
}

// Close implements [net.Listener]. It leaves the connection open.
func (*conn) Close() error { return nil }

// Addr implements [net.Listener].
func (c *conn) Addr() net.Addr { return c.LocalAddr() }

// A phase is where a connection of HTTP/1 is between two requests.
type phase uint8

const (
	active  phase = iota
	idle          // a request has ended; the deadline for the wait is set next
	waiting       // net/http waits for the first bytes of the next request
	resting       // they didn't come, and net/http was told that the connection has ended
)

const (
	// readBuffer is the size of net/http's buffer. A read of that size means that it is
	// empty; otherwise it holds bytes of the next request.
	readBuffer = 4 << 10

	// firstPeek is how many bytes of a request end net/http's wait for it.
	firstPeek = 4
)

// An open is the net.Conn of a conn.
type open struct{ *conn }

// Close stops reads by net/http. The server closes the connection itself.
func (c open) Close() error {
	c.closed.Store(true)
	c.endReads()
	return c.Conn.SetReadDeadline(time.Now())
}

// SetReadDeadline sets the deadline of reads, which fail at once after Close.
func (c open) SetReadDeadline(t time.Time) error {
	switch c.phase {
	case idle:
		c.phase, c.until, t = waiting, t, time.Now().Add(restAfter)
	case waiting: // the next request has begun
		c.phase = active
	default:
	}
	err := c.Conn.SetReadDeadline(t)
	if c.closed.Load() {
		return c.Conn.SetReadDeadline(time.Now())
	}
	return err
}

// CloseWrite tells the peer that no more data follows.
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
	c.heads.Rest()
	n, err := c.Conn.Read(p)
	if c.phase == waiting {
		if n, err = c.waited(p, n, err); c.phase == resting {
			return n, err
		}
	}
	if err == nil && c.began && !c.handled.Load() {
		err = c.heads.Begin(c.reads)
	}
	c.began = true
	return n, err
}

// waited goes on after a read of p that waited for the next request.
func (c open) waited(p []byte, n int, err error) (int, error) {
	silent := errors.Is(err, os.ErrDeadlineExceeded) && !c.closed.Load()
	if silent && len(p) == readBuffer {
		c.phase = resting
		return 0, io.EOF
	}
	c.phase = active
	if n < firstPeek {
		_ = c.Conn.SetReadDeadline(c.until) // a failure shows in the next read
	}
	if silent {
		return c.Conn.Read(p)
	}
	return n, err
}

// Write implements [net.Conn].
func (c open) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.Conn.Write(p)
}

type connKey struct{}

// fail records an error to log when the connection ends.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
}

// A handle serves a request, or returns an error. An *[fault.Error] is sent to the peer. If
// the answer has already begun, the connection is closed instead.
type handle func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP implements [http.Handler].
func (h handle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := requestOf(r)
	defer c.worker.Rest()
	err := h.safely(w, r)
	if r.ContentLength != 0 { // drain the rest of the body for a moment
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
			w.Header().Set("Connection", "close") // so that the connection ends, and its error is logged, at once
		}
		p = &problem{fault: f}
		if errors.Is(f, dialect.ErrMissing) {
			p.status = http.StatusNotFound
		}
		tell(w, r, p)
	case errors.Is(err, errBegun):
		panic(http.ErrAbortHandler) // so that the peer notices that the answer is incomplete
	case r.Context().Err() != nil, errors.Is(err, dialect.ErrDrained):
		panic(http.ErrAbortHandler)
	default:
		c.fail(err)
		panic(http.ErrAbortHandler)
	}
}

// safely calls h and turns a panic into an error.
func (h handle) safely(w http.ResponseWriter, r *http.Request) (err error) {
	defer dialect.Recover(&err, "internal error")
	return h(w, r)
}

// restTime is how long to read the rest of a refused body.
const restTime = time.Second

// errBegun wraps an error that came after the answer had begun.
var errBegun = errors.New("web: the answer ended early")

// told is a fault that the peer was told, for the log.
type told struct{ f *fault.Error }

func (t told) Error() string {
	if t.f.Err != nil {
		return t.f.Text + ": " + t.f.Err.Error()
	}
	return t.f.Text
}

// methods maps methods to the handlers of a path.
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

// notAllowed answers with the methods that the path supports.
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
