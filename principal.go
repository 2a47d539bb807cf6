package dictwire

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/dictwire/dictwire/internal/server"
	"github.com/dictwire/dictwire/store"
)

// A Principal is the name of who speaks, as the server's [Authorizer] says. Names of
// producers and cursors belong to it. Names that begin with "_" are the server's own.
type Principal string

// named returns the principal's name as messages and rows have it: "" is Anonymous.
func (p Principal) named() string {
	if p == Anonymous {
		return ""
	}
	return string(p)
}

// Anonymous is the principal of whoever gave no credentials.
const Anonymous Principal = store.Anonymous

// An Authorizer says who a peer is, and what it may do. Any number of goroutines may
// call it. It is called once for each session, before anything of it is taken in. An
// error refuses the session: the peer is told [ErrUnauthenticated] or [ErrUnavailable];
// another error is in the server's log alone.
type Authorizer interface {
	Authorize(ctx context.Context, c Credentials) (Grant, error)
}

// An AuthorizerFunc is a function as an [Authorizer].
type AuthorizerFunc func(ctx context.Context, c Credentials) (Grant, error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(ctx context.Context, c Credentials) (Grant, error) {
	return f(ctx, c)
}

// Credentials are what a peer gives to say who it is.
type Credentials struct {
	Token      string               // "" where it sent none; must not be logged
	RemoteAddr net.Addr             // the peer's
	TLS        *tls.ConnectionState // VerifiedChains are those that were verified; nil without TLS
	UID        *uint32              // of a peer on a Unix socket, where the system tells; else nil
}

// A Grant says who a peer is, and what it may do.
type Grant struct {
	Principal Principal // at most 512 bytes; "": Anonymous

	// Allows reports whether the peer has a right to a topic or, to read, to all below
	// one, as "orders.*", or to "*", all that don't begin with "_". Nil allows everything.
	Allows func(right Right, topic string) bool

	// Context ends when the grant does: its sessions end then, after what they have
	// acknowledged, with [ErrUnauthenticated]. Nil means that it does not end.
	Context context.Context //nolint:containedctx // the grant's life, which no call spans
}

// A Right is what a peer may do with a topic.
type Right string

// The rights that a grant is asked for.
const (
	RightSend  Right = server.RightSend  // to send records to it
	RightRead  Right = server.RightRead  // to read its records
	RightAdmin Right = server.RightAdmin // to trim it and move cursors; of "*", to have backups made, too; nobody has it without an Authorizer
)

// authorizeBy returns a as the server's machinery takes it.
func authorizeBy(a Authorizer) func(context.Context, server.Credentials) (server.Grant, error) {
	if a == nil {
		return nil
	}
	return func(ctx context.Context, c server.Credentials) (server.Grant, error) {
		g, err := a.Authorize(ctx, Credentials(c))
		grant := server.Grant{Principal: string(g.Principal), Context: g.Context}
		if g.Allows != nil {
			grant.Allows = func(right, topic string) bool { return g.Allows(Right(right), topic) }
		}
		return grant, err
	}
}
