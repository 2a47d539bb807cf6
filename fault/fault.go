// Package fault has what one side of a connection tells the other of a fault: the
// [Code] and the one [Error] that carries it. docs/errors.md says what helps.
package fault

import (
	"time"

	"github.com/dictwire/dictwire/dict"
)

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

// Is reports whether target is the fault's [Code].
func (e *Error) Is(target error) bool { return target == e.Code }

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
