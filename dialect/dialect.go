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

// An Intake takes in the records that a dialect finds.
type Intake interface {
	// Take takes in records that were received together. It calls answer, where
	// that is not nil, for each record that is answered, in order, from the
	// calling goroutine.
	Take(ctx context.Context, b *Batch, answer func(Answer) error) error

	// Reject takes note of a record that is none.
	Reject(ctx context.Context, r *Rejection)
}

// A Batch is records of one codec that were received together.
type Batch struct {
	Codec   codec.Codec
	Dialect string
	Records [][]byte // each one serialized dictionary, valid until Take returns
}

// An Answer is what a handler says about one record.
type Answer struct {
	Reply *dict.Dict // what it replies, if anything
	Err   *Error     // why the record was rejected
}

// A Rejection is a record that could not be read.
type Rejection struct {
	Codec   codec.Codec
	Dialect string
	Err     *Error
	Bytes   []byte // those of the record that have come so far, valid during the call
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
)

// An Error is a fault that the peer is told.
type Error struct {
	Code codec.Code
	Text string // for the peer, without secrets
	Hint string // the remedy, where there is one
	At   int64  // offset of the fault from the connection's first byte; -1 where there is none
	Err  error  // the cause, for the log alone; may be nil
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Dict returns the dictionary that tells the peer: error, code and, where there
// is a place, at.
func (e *Error) Dict() *dict.Dict {
	text := e.Text
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	d := dict.Of("error", text, "code", string(e.Code))
	if e.At >= 0 {
		d.Set("at", dict.Int(e.At))
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
