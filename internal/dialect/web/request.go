package web

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
)

// A request is an HTTP request in progress. Each request of HTTP/2 has a goroutine of its
// own; those of HTTP/1 run on that of the connection.
type request struct {
	*conn
	worker  *dialect.Worker
	patient atomic.Bool // the peer may read the answer slowly
}

type requestKey struct{}

// requestOf returns the request of an http.Request.
func requestOf(r *http.Request) *request { return r.Context().Value(requestKey{}).(*request) }

// each counts the requests of a connection, so that it ends after all of them.
func (d *web) each(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connKey{}).(open).conn
		q := &request{conn: c, worker: c.dw.Own()}
		if r.ProtoMajor > 1 {
			if !c.begin() {
				return
			}
			q.worker = c.dw.Worker()
			rc := http.NewResponseController(w)
			w = &stream{w, rc, q}
			defer c.end()
			defer func() { _ = rc.SetWriteDeadline(time.Now().Add(answerTime)) }() // for the rest of the answer
		} else {
			c.http1 = true
			c.handled.Store(true)
			defer c.handled.Store(false)
		}
		defer func() {
			if c.taken {
				close(c.done)
			}
		}()
		ctx, done := lasting(r, c)
		defer done()
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, requestKey{}, q))) //nolint:contextcheck // derived from the request's
	})
}

// lasting returns the context of a request. When a peer of HTTP/1 half-closes the
// connection, net/http cancels the request, although the peer may be waiting for the
// answer. Since the whole request has arrived by then, the cancellation is ignored, except
// for a read that follows or has a filter: those may run for long without writing anything.
func lasting(r *http.Request, c *conn) (_ context.Context, done func()) {
	if q := r.URL.Query(); r.ProtoMajor > 1 || q.Has("follow") || q.Has("filter") {
		return r.Context(), func() {}
	}
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	stop := context.AfterFunc(c.ctx, func() { end(context.Cause(c.ctx)) })
	return ctx, func() {
		stop()
		end(nil)
	}
}

// answerTime is how long the end of an answer may take if a peer of HTTP/2 does not read
// it.
const answerTime = 10 * time.Second

// A stream is the answer to a request of HTTP/2. Flow control may block its writes without
// blocking the other streams of the connection.
type stream struct {
	http.ResponseWriter
	rc *http.ResponseController
	q  *request
}

// Unwrap supports [http.ResponseController].
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write implements [http.ResponseWriter].
func (s *stream) Write(p []byte) (int, error) {
	defer s.wait()()
	return s.ResponseWriter.Write(p)
}

// FlushError supports [http.ResponseController].
func (s *stream) FlushError() error {
	defer s.wait()()
	return s.rc.Flush()
}

// wait starts a time-out for a write that the peer blocks; stop ends it.
func (s *stream) wait() (stop func()) {
	return s.q.dw.Await(s.q.patient.Load(), func() { _ = s.rc.SetWriteDeadline(time.Unix(1, 0)) })
}

// begin reports whether another request may start, and counts it.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.requests.Add(1)
	return true
}

// end is the counterpart of begin.
func (c *conn) end() { c.requests.Done() }

// finish waits for all requests, and for reads and writes of net/http. After it, nothing
// uses the connection.
func (c *conn) finish() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.reading.Lock()   // a read has ended or ends at once: see Close
	c.reading.Unlock() //nolint:staticcheck // waited for the read
	c.heads.Rest()
	if !c.writing.TryLock() { // a blocked write; nobody needs its result
		c.dw.End(net.ErrClosed)
		c.writing.Lock()
	}
	c.writing.Unlock()
	c.requests.Wait()
}

// setPatient sets whether the peer may read the answer slowly.
func (q *request) setPatient(is bool) {
	q.patient.Store(is)
	q.patience.Lock()
	defer q.patience.Unlock()
	if is {
		q.patients++
	} else {
		q.patients--
	}
	q.dw.SetPatient(q.patients > 0)
}
