// Package dialect is the seam between connections and records. A [Dialect] is
// one way of putting serialized dictionaries on a connection; [Sniff] tells from
// the first bytes which one a connection speaks; a [Conn] is the connection as a
// dialect sees it, with bounded memory and time.
//
//	listener ─▶ Conn ─▶ Sniff ─▶ Dialect ─▶ codec.Scanner ─▶ Intake
package dialect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// A Dialect is one way of putting serialized dictionaries on a connection. Any
// number of goroutines may use it at once.
type Dialect interface {
	// Name is the dialect's name in logs: "stream".
	Name() string

	// Serve serves one connection until its end, which may be the peer's, a
	// fault's or the server's. It returns nil where all that came was whole, an
	// *Error that the peer should be told, or an error of the connection. It
	// does not close c.
	Serve(ctx context.Context, c *Conn, in Intake) error
}

// The codes of faults that are not a record's own.
const (
	Handler     codec.Code = "handler"     // the handler rejected the record
	Internal    codec.Code = "internal"    // the handler panicked
	Loss        codec.Code = "loss"        // the format can't hold a value
	Unavailable codec.Code = "unavailable" // the server can't take records for now
	Unsupported codec.Code = "unsupported" // the protocol or a part of it is not served
	Idle        codec.Code = "idle"        // nothing came for too long
	Rate        codec.Code = "rate"        // a record came too slowly
	Shutdown    codec.Code = "shutdown"    // the server ends
	Topic       codec.Code = "topic"       // the topic's name is none
	Version     codec.Code = "version"     // of the protocol is not served
	Fenced      codec.Code = "fenced"      // another connection took the producer or the cursor
	Stale       codec.Code = "stale"       // a later attempt has the producer
	Conflict    codec.Code = "conflict"    // two logs use one producer's name
	Lost        codec.Code = "lost"        // the store has less than it promised
)

// An Error is a fault that the peer is told.
type Error struct {
	Code codec.Code
	Text string // for the peer, without secrets
	Hint string // the remedy, where there is one
	At   int64  // offset of the fault from the connection's first byte; -1 where there is none
	Err  error  // the cause, for the log alone; may be nil

	Next  uint64        // of Lost: the number behind the last that the store has
	Retry time.Duration // of Unavailable: when to try again
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Told returns the text for the peer, the hint included.
func (e *Error) Told() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + "; " + e.Hint
}

// Dict returns the dictionary that tells the peer: error, code and, where they
// say something, at, next and retry_ms.
func (e *Error) Dict() *dict.Dict {
	d := dict.Of("error", e.Told(), "code", string(e.Code))
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

// FaultOf makes the Error of what a codec says about a record that began at the
// given offset of the connection.
func FaultOf(err error, at int64) *Error {
	var s *codec.SyntaxError
	if errors.As(err, &s) {
		return &Error{Code: s.Code, Text: s.Error(), Hint: s.Hint, At: at + int64(s.Offset), Err: err}
	}
	return &Error{Code: Internal, Text: fmt.Sprint(err), At: at, Err: err}
}
