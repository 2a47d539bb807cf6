// Package access is the seam between a server and the authorizer of its peers. Package
// auth implements one with files.
package access

import (
	"context"
	"crypto/tls"
	"net"
)

// An Authorizer identifies a peer and says what it may do. It is called at the start of
// each session, by several goroutines at once. An error refuses the session: the peer is
// told dictwire.ErrUnauthenticated or dictwire.ErrUnavailable; any other error goes to the
// server's log only.
type Authorizer func(ctx context.Context, c Credentials) (Grant, error)

// Credentials are what a peer shows to say who it is.
type Credentials struct {
	Token      string // or ""; must not be logged
	RemoteAddr net.Addr
	TLS        *tls.ConnectionState // with the verified client certificates in VerifiedChains; nil without TLS
	UID        *uint32              // of the peer of a Unix socket, if the system tells it; else nil
}

// A Grant says who a peer is, and what it may do.
type Grant struct {
	// Principal is the name of the peer, which owns its producers and cursors: at most 512
	// bytes. Names that begin with "_" are reserved. "" means store.Anonymous.
	Principal string

	// Allows reports whether the peer has a right to a topic. To read, that may be "orders.*"
	// for all topics below one, or "*" for all without "_" in front. Nil allows everything.
	Allows func(right Right, topic string) bool

	// Context ends the grant's sessions when it ends, with dictwire.ErrUnauthenticated and
	// after all that they have acknowledged. Nil never ends them.
	Context context.Context //nolint:containedctx // the grant's life, which no call spans
}

// A Right is what a peer may do with a topic.
type Right string

// The rights.
const (
	Send  Right = "send"  // send records to it
	Read  Right = "read"  // read its records
	Admin Right = "admin" // trim it and move cursors; for "*", also make backups; nobody has it without an Authorizer
)
