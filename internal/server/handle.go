package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

// A RejectError is the error by which a handler rejects a record at once. After any other
// error, the handler is called again.
type RejectError struct {
	Reason string // a word of the application, or ""
	Text   string
}

func (e *RejectError) Error() string { return e.Text }

// Unwrap returns the *[fault.Error] that the sender is told.
func (e *RejectError) Unwrap() error {
	return &fault.Error{Code: fault.Handler, Reason: cut(e.Reason, store.MaxReason), Text: e.Text, At: -1}
}

// handle calls the handler for a record. It reports false if the handler failed and must be
// called again, after the records before this one are settled: see writer.pause. The error is
// a *[fault.Error] that rejects the record, or says why it can't be decided now.
func (w *writer) handle(ctx context.Context, r *Request) (reply *dict.Dict, decided bool, err error) {
	s := w.session.s
	reply, err = w.call(ctx, r)
	var rejected *RejectError
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Cause(ctx)), errors.Is(err, fault.Unavailable):
	case errors.As(err, &rejected):
		err = rejected.Unwrap() // without the text of errors that wrap it
	default:
		if w.failures++; w.failures <= s.handlerRetries {
			s.logPeer("the handler failed, and is called again", "remote", w.session.peer,
				"topic", w.topic, "producer", w.producer.Name, "number", r.Number, "failures", w.failures, "error", err)
			return nil, false, nil
		}
		err = &fault.Error{Code: fault.Internal, Text: "the handler failed", At: -1, Err: err}
	}
	w.failures = 0
	return reply, true, err
}

// call calls the handler and converts a panic to an error.
func (w *writer) call(ctx context.Context, r *Request) (reply *dict.Dict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	s := w.session.s
	if s.handlerTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.handlerTimeout)
		defer cancel()
	}
	return s.Handler(ctx, *r)
}

// Limits of the pause before a failed handler is called again, which doubles each time.
const (
	minHandlerPause = 50 * time.Millisecond
	maxHandlerPause = 5 * time.Second
)

// pause waits before the handler is called again for a record that it failed on. When the
// connection is to end, pause stops waiting: a numbered record will be sent again, and one
// without a number, which nobody else holds any more, gets one last attempt.
func (w *writer) pause(ctx context.Context) error {
	if w.failures == 0 {
		return nil
	}
	conn := w.session.conn
	w.session.worker.Rest()
	pause := time.NewTimer(min(minHandlerPause<<min(w.failures-1, 16), maxHandlerPause))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-conn.Ending():
		if !w.producer.IsZero() {
			return conn.Ended()
		}
		w.failures = max(w.failures, w.session.s.handlerRetries)
	}
	return nil
}
