// Package fault has what one side of a connection tells the other of a fault: the
// [Code] and the one [Error] that carries it. docs/errors.md says what helps.
package fault

import (
	"errors"
	"time"

	"github.com/dictwire/dictwire/dict"
)

// ErrUnavailable says that the server can't take a record now, and that it is to be
// sent again. A handler returns it, wrapped or not, where it can't judge a record;
// on the other side, an [Error] with the code Unavailable is one.
var ErrUnavailable = errors.New("dictwire: unavailable")

// ErrUnauthenticated says that the server does not know who speaks: the token is
// missing, unknown or not valid any more. An Authorizer returns it, wrapped or not; on
// the other side, an [Error] with the code Unauthenticated is one.
var ErrUnauthenticated = errors.New("dictwire: unauthenticated")

// An Error is a fault that a peer is told, or was told.
type Error struct {
	Code Code
	Text string // what is wrong, without secrets
	Hint string // the remedy, where there is one; an Error from a peer has it in Text
	At   int64  // offset of the fault from the connection's first byte; -1 where there is none
	Err  error  // the cause, for the log alone; may be nil

	Reason string        // of Handler: the application's own word, or ""
	Next   uint64        // of Lost: the number after the last that the server has
	Retry  time.Duration // of Unavailable: when to try again
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether the fault is target: [ErrUnavailable] or [ErrUnauthenticated].
func (e *Error) Is(target error) bool {
	return target == ErrUnavailable && e.Code == Unavailable ||
		target == ErrUnauthenticated && e.Code == Unauthenticated
}

// Told returns the text for the peer, the hint included.
func (e *Error) Told() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + "; " + e.Hint
}

// Dict returns the dictionary that tells the peer: error, code and, where they
// say something, reason, at, next and retry_ms.
func (e *Error) Dict() *dict.Dict {
	d := dict.Of("error", e.Told(), "code", string(e.Code))
	if e.Reason != "" {
		d.Set("reason", dict.String(e.Reason))
	}
	if e.At >= 0 {
		d.Set("at", dict.Int(e.At))
	}
	if e.Next > 0 {
		d.Set("next", dict.Int(int64(e.Next)))
	}
	if e.Retry > 0 {
		d.Set("retry_ms", dict.Int(e.Retry.Milliseconds()))
	}
	return d
}
