package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// Credentials are what a peer gives to say who it is.
type Credentials struct {
	Token      string
	RemoteAddr net.Addr
}

// A Grant says who somebody is, and what he may do.
type Grant struct {
	Principal string
	Allows    func(right, topic string) bool // nil: everything
}

// The rights that a grant is asked for.
const (
	RightSend = "send"
	RightRead = "read"
)

// A session is what a principal does on a connection: see [dialect.Session].
type session struct {
	*intake
	principal string
	allows    func(right, topic string) bool // nil: everything
}

// authorizeTime is how long it may take to find out who somebody is.
const authorizeTime = 10 * time.Second

// Open implements [dialect.Intake].
func (in *intake) Open(ctx context.Context, c dialect.Credentials) (dialect.Session, error) {
	authorize := in.endpoint.authorize
	if authorize == nil {
		return &session{intake: in, principal: store.Anonymous}, nil
	}
	in.conn.Rest()
	asking, cancel := context.WithTimeout(ctx, authorizeTime)
	defer cancel()
	g, err := authorize(asking, Credentials{Token: c.Token, RemoteAddr: in.remote})
	if err == nil {
		err = checkPrincipal(g.Principal)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, in.deny(faultOfAuthorizer(err, c.Token))
	}
	if g.Principal == "" {
		g.Principal = store.Anonymous
	}
	return &session{intake: in, principal: g.Principal, allows: g.Allows}, nil
}

// checkPrincipal returns an error where a name can't be a peer's principal.
func checkPrincipal(name string) error {
	if strings.HasPrefix(name, "_") {
		return fmt.Errorf("principal %.40q: names that begin with _ are the server's own", name)
	}
	if len(name) > store.MaxPrincipal {
		return fmt.Errorf("principal %.40q: a name of %d bytes, want at most %d", name, len(name), store.MaxPrincipal)
	}
	return nil
}

// faultOfAuthorizer returns what a peer is told of an error of the Authorizer. The
// log has the cause where the Authorizer failed, without the token.
func faultOfAuthorizer(err error, token string) *fault.Error {
	switch {
	case errors.Is(err, fault.ErrUnauthenticated) && token == "":
		return &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "this server wants to know who speaks", Hint: `send a "token" in the greeting`}
	case errors.Is(err, fault.ErrUnauthenticated):
		return &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "the token is unknown, or not valid any more"}
	}
	text := err.Error()
	if token != "" {
		text = strings.ReplaceAll(text, token, "…")
	}
	f := &fault.Error{Code: fault.Internal, At: -1, Text: "the server can't find out who speaks", Err: errors.New(text)}
	if errors.Is(err, fault.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		f.Code, f.Retry = fault.Unavailable, retryAfter
	}
	return f
}

// Principal implements [dialect.Session].
func (in *session) Principal() string { return in.principal }

// named returns who speaks, "" where that is [store.Anonymous].
func (in *session) named() string {
	if in.principal == store.Anonymous {
		return ""
	}
	return in.principal
}

// allow returns an error where the principal has no right to a topic, or to all that a
// pattern covers.
func (in *session) allow(right, topic string) error {
	if in.allows == nil || in.allows(right, topic) {
		return nil
	}
	preposition := "to"
	if right == RightRead {
		preposition = "from"
	}
	return in.deny(&fault.Error{
		Code: fault.Forbidden, At: -1,
		Text: fmt.Sprintf("%s has no right to %s %s %s", in.principal, right, preposition, topic),
	})
}

// Info implements [dialect.Session].
func (in *session) Info(ctx context.Context) (dialect.Info, error) {
	topics, err := in.s.store.Topics(ctx)
	if err != nil {
		return dialect.Info{}, faultOfStore(ctx, err)
	}
	cursors, err := in.s.store.Cursors(ctx)
	if err != nil {
		return dialect.Info{}, faultOfStore(ctx, err)
	}
	return dialect.Info{
		Topics: slices.DeleteFunc(topics, func(t store.TopicStat) bool {
			return in.allows != nil && !in.allows(RightRead, t.Name)
		}),
		Cursors: slices.DeleteFunc(cursors, func(c store.SavedCursor) bool { return c.Principal != in.principal }),
	}, nil
}

// denial reports whether a peer is told a code since it may not do what it wants.
func denial(c fault.Code) bool { return c == fault.Unauthenticated || c == fault.Forbidden }

// deny logs that a peer was denied something, and returns f. Only one line a second is
// logged of one address.
func (in *intake) deny(f *fault.Error) *fault.Error {
	if in.s.Logger != nil && denial(f.Code) && in.s.denied.take(in.conn.Host(), time.Now()) {
		in.s.logPeer("access denied", append([]any{"remote", in.remote.String()}, faultAttrs(f)...)...)
	}
	return f
}

// A paced lets through one line a second of each address. The zero value is ready to
// use.
type paced struct {
	mu    sync.Mutex
	last  map[string]time.Time // guarded by mu
	swept time.Time            // guarded by mu
}

const (
	paceTime  = time.Second
	pacePeers = 4096 // that are told apart
)

// take reports whether a line of an address is let through.
func (p *paced) take(host string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.last[host]; ok && now.Sub(last) < paceTime {
		return false
	}
	if len(p.last) >= pacePeers && now.Sub(p.swept) >= paceTime {
		p.swept = now
		for host, last := range p.last {
			if now.Sub(last) >= paceTime {
				delete(p.last, host)
			}
		}
	}
	if len(p.last) >= pacePeers {
		return false
	}
	if p.last == nil {
		p.last = make(map[string]time.Time)
	}
	p.last[host] = now
	return true
}
