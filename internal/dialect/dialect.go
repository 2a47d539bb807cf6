// Package dialect is the seam between connections and records. A [Dialect] is one way of
// sending serialized dictionaries over a connection. [Sniff] recognizes a connection's
// dialect by its first bytes. A [Conn] is the connection as a dialect sees it, with
// bounded memory and time.
//
//	listener ─▶ Conn ─▶ Sniff ─▶ Dialect ─▶ codec.Scanner ─▶ Intake
package dialect

import (
	"context"
	"errors"
	"fmt"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

// A Kind is a dialect that servers may speak.
type Kind struct {
	Name      string     // in logs and options: "stream"
	Protocols []Protocol // what it serves
	ALPN      []string   // what its clients call it within TLS, preferred first (RFC 7301)
	New       func(Config) Dialect

	// Greets is the protocol in which the server speaks first, in place of Protocols.
	// Such a dialect is served only by an endpoint that names it alone. Unknown means
	// that the peer speaks first.
	Greets Protocol
}

// A Config is what a server provides to its dialects.
type Config struct {
	Codecs map[string]codec.Codec // by name

	// These may change while the server runs.
	Limits     func() codec.Limits     // of one record
	Durability func() store.Durability // what an acknowledgement promises

	// Ready returns nil if records can be stored now. Otherwise the error is an
	// *[fault.Error] for the peer, or the cause of ctx.
	Ready func(ctx context.Context) error
}

// A Dialect is one way of sending serialized dictionaries over a connection, set up for
// one server. Any number of goroutines may use it at once.
type Dialect interface {
	// Open begins to serve a connection, and returns what serves the rest of it. Both are
	// nil if that has served all of it. See Serving for the error, with which nothing is
	// open.
	Open(ctx context.Context, c *Conn, in Intake) (Serving, error)

	// Shutdown is called when the server drains, perhaps more than once. Connections
	// drain themselves; whatever else the dialect has open must end without losing
	// anything. Shutdown returns when it has ended, or the cause of ctx.
	Shutdown(ctx context.Context) error
}

// A Serving serves a connection that a dialect has opened.
//
// An idle connection waits within Serve, and what Open had on the stack is gone by then, so
// that the collector can halve the stack, down to 4 KiB: it does if less than a quarter is
// in use. From the beginning of the goroutine to that wait there is just little enough;
// TestIdleConns fails if it becomes more.
type Serving interface {
	// Serve serves the connection until the peer, a fault or the server ends it. It
	// returns nil if everything received was complete, an *fault.Error that the peer
	// should be told, or an error of the connection. It does not close the connection.
	Serve(ctx context.Context) error

	// Close releases what the dialect has open for the connection, after Serve has returned
	// err or has panicked. It returns what is to become of err.
	Close(err error) error
}

// FaultOf converts a codec's error to a fault. The record begins at the given offset of
// the connection.
func FaultOf(err error, at int64) *fault.Error {
	var s *codec.SyntaxError
	if errors.As(err, &s) {
		return &fault.Error{Code: s.Code, Text: s.Error(), Hint: s.Hint, At: at + int64(s.Offset), Err: err}
	}
	return &fault.Error{Code: fault.Internal, Text: fmt.Sprint(err), At: at, Err: err}
}
