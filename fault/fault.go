// Package fault has the faults that one side of a connection reports to the other: the
// [Code] and the [Error] that carries it. docs/errors.md has the remedies.
package fault

import (
	"time"

	"github.com/dictwire/dictwire/dict"
)

// An Error is a fault that is or was reported over a connection.
type Error struct {
	Code Code
	Text string // what is wrong, without secrets
	Hint string // the remedy, or ""; an Error from a peer has it in Text
	At   int64  // offset of the fault from the connection's first byte, or -1
	Err  error  // the cause, for the log only; may be nil

	Reason string        // of Handler: a word of the application, or ""
	Next   uint64        // of Lost: the number after the last that the server has
	Retry  time.Duration // of Unavailable: when to try again
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the fault's [Code].
func (e *Error) Is(target error) bool { return target == e.Code }

// Told returns the text for the peer, including the hint.
func (e *Error) Told() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + "; " + e.Hint
}

// Dict returns the dictionary for the peer: error, code and, unless they are empty,
// reason, at, next and retry_ms.
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
