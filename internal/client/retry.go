package client

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// A backoff computes the pauses between attempts to connect.
type backoff struct{ min, max, next time.Duration }

// pause returns the next pause.
func (b *backoff) pause() time.Duration {
	d := max(b.next, b.min)
	b.next = min(2*d, b.max)
	return d/2 + rand.N(d/2+1)
}

// wait waits for the next pause, and reports false if ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// A retryError says when to try again.
type retryError struct {
	after time.Duration
	err   error
}

// pause returns a pause that is a little longer than the server asks for, and different for
// each client.
func (e *retryError) pause() time.Duration { return e.after + rand.N(e.after/4+1) }

func (e *retryError) Error() string { return e.err.Error() }

func (e *retryError) Unwrap() error { return e.err }

// run makes sessions as long as there is something to send.
func (s *sender) run() {
	c := s.c
	again := backoff{min: c.o.MinBackoff, max: c.o.MaxBackoff}
	for s.busy() {
		before := s.progress()
		err := s.connect(c.ctx)
		if c.ctx.Err() != nil {
			break
		}
		progress := s.progress() > before
		if progress {
			again.next = 0
		}
		var (
			stopped *stopError
			later   *retryError
			remote  *RemoteError
			pause   time.Duration
		)
		switch {
		case err == nil:
			continue
		case errors.As(err, &stopped):
			s.fail(stopped.err)
			continue
		case errors.As(err, &later):
			pause = later.pause()
			c.servers.next()
		case errors.As(err, &remote) && progress && !remote.Fault.Code.Retryable(): // the session made progress before the fault
			c.logSession(slog.LevelWarn, "a record ended the session", "topic", s.topic, "error", err)
			continue
		default:
			pause = again.pause()
			if !progress {
				c.servers.next()
			}
		}
		s.mu.Lock()
		first := s.trouble == nil
		s.trouble = err
		s.mu.Unlock()
		if first {
			c.changed(State{Topics: []string{s.topic}, Err: err})
			c.logSession(slog.LevelWarn, "no session for now", "topic", s.topic, "error", err)
		}
		if !wait(c.ctx, pause) {
			break
		}
	}
}

// busy reports whether there is something to send. If not, the caller, run, must end.
func (s *sender) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = s.err == nil && s.known > s.acked+1
	return s.running
}

func (s *sender) progress() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}
