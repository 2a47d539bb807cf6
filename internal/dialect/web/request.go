package web

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
)

// A request is one that is served. Those of HTTP/2 are served at once, each by a
// goroutine of its own; others by that of the connection.
type request struct {
	*conn
	worker  *dialect.Worker
	patient atomic.Bool // the peer may take its time for the answer
}

type requestKey struct{}

// requestOf returns the request that is served.
func requestOf(r *http.Request) *request { return r.Context().Value(requestKey{}).(*request) }

// Each request is noted, so that a connection ends after all of its own.
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
			defer func() { _ = rc.SetWriteDeadline(time.Now().Add(answerTime)) }() // of what is left of the answer
		}
		defer func() {
			if c.taken {
				close(c.done)
			}
		}()
		ctx, done := lasting(r, c)
		defer done()
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, requestKey{}, q))) //nolint:contextcheck // it is made of the request's
	})
}

// lasting returns the context of a request. net/http takes the end of what a peer of
// HTTP/1 says for the peer's, who may have half-closed and wait for the answer: all of the
// request has come then, and only one who follows is taken to be gone, or who has a filter,
// of which a long search may give nothing.
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

// answerTime is how long the end of an answer may take that a peer of HTTP/2 does not
// read.
const answerTime = 10 * time.Second

// A stream is what a request of HTTP/2 is answered on. The peer lets it go on, so that a
// write may wait though others of the connection do not.
type stream struct {
	http.ResponseWriter
	rc *http.ResponseController
	q  *request
}

// Unwrap is for [http.ResponseController].
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write implements [http.ResponseWriter].
func (s *stream) Write(p []byte) (int, error) {
	defer s.wait()()
	return s.ResponseWriter.Write(p)
}

// FlushError is for [http.ResponseController].
func (s *stream) FlushError() error {
	defer s.wait()()
	return s.rc.Flush()
}

// wait ends a write that the peer lets wait for too long, until the returned function is
// called.
func (s *stream) wait() (stop func()) {
	return s.q.dw.Await(s.q.patient.Load(), func() { _ = s.rc.SetWriteDeadline(time.Unix(1, 0)) })
}

// begin reports whether another request may be served.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.requests.Add(1)
	return true
}

// end undoes begin.
func (c *conn) end() { c.requests.Done() }

// finish waits for all requests, and for what net/http still reads and writes: nobody
// uses the connection any more.
func (c *conn) finish() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.reading.Lock()          // a read ends at once: see Close
	c.reading.Unlock()        //nolint:staticcheck // it has ended
	if !c.writing.TryLock() { // nobody waits for what is written
		c.dw.End(net.ErrClosed)
		c.writing.Lock()
	}
	c.writing.Unlock()
	c.requests.Wait()
}

// setPatient says whether the peer of a request may take its time for the answer.
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
