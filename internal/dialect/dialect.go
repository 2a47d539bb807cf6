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
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

// A Kind is a dialect that servers may speak.
type Kind struct {
	Name      string     // in logs and options: "stream"
	Protocols []Protocol // what it serves
	ALPN      []string   // what its clients call it within TLS, preferred first (RFC 7301)
	New       func(Config) Dialect

	// Greets, where it is not Unknown, is what the server speaks first, in place of
	// Protocols. So the dialect is served where an endpoint names it alone.
	Greets Protocol
}

// A Config is what a server has for its dialects.
type Config struct {
	Codecs map[string]codec.Codec // the formats that are served, by their names

	// What may change while the server runs.
	Limits     func() codec.Limits     // of one record
	Durability func() store.Durability // what an acknowledgement promises

	// Ready returns nil where records can be stored now. Else the error is an
	// *[fault.Error] for the peer, or the cause of ctx.
	Ready func(ctx context.Context) error
}

// A Dialect is one way of putting serialized dictionaries on a connection, as one
// server speaks it. It is made once. Any number of goroutines may use it at once.
type Dialect interface {
	// Serve serves one connection until its end, which may be the peer's, a
	// fault's or the server's. It returns nil where all that came was whole, an
	// *fault.Error that the peer should be told, or an error of the connection. It
	// does not close c.
	Serve(ctx context.Context, c *Conn, in Intake) error

	// Shutdown is called when the server drains, and may be called again: what the dialect has open
	// beside its connections, which drain themselves, is to end without losing
	// anything. It returns when that has ended, or the cause of ctx.
	Shutdown(ctx context.Context) error
}

// FaultOf makes the Error of what a codec says about a record that began at the
// given offset of the connection.
func FaultOf(err error, at int64) *fault.Error {
	var s *codec.SyntaxError
	if errors.As(err, &s) {
		return &fault.Error{Code: s.Code, Text: s.Error(), Hint: s.Hint, At: at + int64(s.Offset), Err: err}
	}
	return &fault.Error{Code: fault.Internal, Text: fmt.Sprint(err), At: at, Err: err}
}
