package dictwire

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/server"
	"github.com/dictwire/dictwire/store"
)

// A Principal is the name of who speaks, as the server's [Authorizer] says. Names of
// producers and cursors are its own: two principals that use the same names never
// meet. Names that begin with "_" are the server's own.
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

// ErrUnauthenticated is what an [Authorizer] returns, wrapped or not, where the
// credentials are missing, unknown or not valid any more. On the other side, what a
// [Client] returns is one where the server said so.
var ErrUnauthenticated = fault.ErrUnauthenticated

// An Authorizer says who a peer is, and what it may do. Its methods are called by
// several goroutines at once.
type Authorizer interface {
	// Authorize is called once for each session, before anything of it is taken in.
	// An error refuses the session: with [ErrUnauthenticated], the peer is told that
	// its credentials are not good, with [ErrUnavailable] that it is to come again.
	// Other errors are the server's own fault; their text is in its log alone.
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
	// Token is the secret that it sent, "" where it sent none. It must not be logged.
	Token string

	// RemoteAddr is the peer's address.
	RemoteAddr net.Addr

	// TLS is the state of the connection's TLS, with the certificates that the peer has
	// shown; those that were verified are in VerifiedChains. Nil means that there is no
	// TLS.
	TLS *tls.ConnectionState

	// UID is the user of the peer on a Unix socket. Nil means that there is none, or that
	// the system does not tell.
	UID *uint32
}

// A Grant says who a peer is, and what it may do.
type Grant struct {
	// Principal is who speaks, at most 512 bytes. Empty means [Anonymous].
	Principal Principal

	// Allows reports whether the peer has a right to a topic. To read, it may ask for
	// all topics below one, as "orders.*", or for "*", all that don't begin with "_":
	// then it must have the right to all of them. Nil allows everything.
	Allows func(right Right, topic string) bool

	// Context ends when the grant does, since it was revoked or has expired: sessions
	// that it opened end then, after what they have acknowledged, with
	// [ErrUnauthenticated]. Nil means that it does not end.
	Context context.Context //nolint:containedctx // the grant's life, which no call spans
}

// A Right is what a peer may do with a topic.
type Right string

// The rights that a grant is asked for.
const (
	RightSend Right = server.RightSend // to send records to it
	RightRead Right = server.RightRead // to read its records

	RightAdmin Right = server.RightAdmin // kept for what changes a topic; no request asks for it yet
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
