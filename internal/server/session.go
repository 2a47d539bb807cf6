package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// A session is a principal on a connection: see [dialect.Session].
type session struct {
	*intake
	worker    *dialect.Worker // for the goroutine that writes
	principal string
	allows    func(right access.Right, topic string) bool // nil: everything
}

// authorizeTime limits how long the Authorizer may take.
const authorizeTime = 10 * time.Second

// Open implements [dialect.Intake].
func (in *intake) Open(ctx context.Context, c dialect.Credentials) (dialect.Session, error) {
	worker := c.Worker
	if worker == nil {
		worker = in.conn.Own()
	}
	authorize := in.endpoint.authorize
	if authorize == nil {
		return &session{intake: in, worker: worker, principal: cmp.Or(c.User, store.Anonymous)}, nil
	}
	worker.Rest()
	asking, cancel := context.WithTimeout(ctx, authorizeTime)
	defer cancel()
	who := access.Credentials{Token: c.Token, RemoteAddr: in.remote, TLS: in.conn.TLS(), UID: in.conn.UID()}
	g, err := authorize(asking, who)
	if err == nil {
		err = checkPrincipal(g.Principal)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		f := faultOfAuthorizer(err, who)
		in.slowDown(ctx, f, who)
		return nil, in.deny(f)
	}
	if g.Principal == "" {
		g.Principal = store.Anonymous
	}
	in.endWith(&g)
	return &session{intake: in, worker: worker, principal: g.Principal, allows: g.Allows}, nil
}

// endWith ends the connection when the grant of one of its sessions ends.
func (in *intake) endWith(g *access.Grant) {
	grant := g.Context
	if grant == nil { // the grant never ends
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.grants[grant] != nil {
		return
	}
	if in.grants == nil {
		in.grants = make(map[context.Context]func() bool)
	}
	in.grants[grant] = context.AfterFunc(grant, func() { in.conn.End(notKnown()) })
}

// forgetGrants undoes endWith.
func (in *intake) forgetGrants() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, stop := range in.grants {
		stop()
	}
	in.grants = nil
}

// slowDown delays a peer that gave wrong credentials, for longer the more often its
// address gave wrong ones. Right credentials are never delayed.
func (in *intake) slowDown(ctx context.Context, f *fault.Error, c access.Credentials) {
	if f.Code != fault.Unauthenticated || !given(c) {
		return
	}
	wait := in.s.wrong.take(in.conn.Host(), time.Second, wrongTime, time.Now())
	if wait <= 0 {
		return
	}
	late := time.NewTimer(min(wait, wrongTime))
	defer late.Stop()
	select {
	case <-late.C:
	case <-in.conn.Ending():
	case <-ctx.Done():
	}
}

// given reports whether c holds credentials at all.
func given(c access.Credentials) bool {
	return c.Token != "" || c.TLS != nil && len(c.TLS.PeerCertificates) > 0
}

// checkPrincipal returns an error if a name can't be the principal of a peer.
func checkPrincipal(name string) error {
	if strings.HasPrefix(name, "_") {
		return fmt.Errorf("principal %.40q: names that begin with _ are the server's own", name)
	}
	if len(name) > store.MaxPrincipal {
		return fmt.Errorf("principal %.40q: a name of %d bytes, want at most %d", name, len(name), store.MaxPrincipal)
	}
	return nil
}

// faultOfAuthorizer returns the fault that a peer is told for an error of the Authorizer.
// If the Authorizer itself failed, the log has the cause, without the token.
func faultOfAuthorizer(err error, c access.Credentials) *fault.Error {
	switch unauthenticated := errors.Is(err, fault.Unauthenticated); {
	case unauthenticated && c.Token != "":
		return notKnown()
	case unauthenticated && given(c):
		return &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "the certificate has no name that is known here"}
	case unauthenticated:
		return &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "this server wants to know who speaks", Hint: `send a "token" in the greeting`}
	}
	text := err.Error()
	if c.Token != "" {
		text = strings.ReplaceAll(text, c.Token, "…")
	}
	f := &fault.Error{Code: fault.Internal, At: -1, Text: "the server can't find out who speaks", Err: errors.New(text)}
	if errors.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded) {
		f.Code, f.Retry = fault.Unavailable, retryAfter
	}
	return f
}

// notKnown is the fault for credentials that are no longer valid.
func notKnown() *fault.Error {
	return &fault.Error{Code: fault.Unauthenticated, At: -1, Text: "the token is unknown, or not valid any more"}
}

// Principal implements [dialect.Session].
func (in *session) Principal() string { return in.principal }

// named returns the principal, or "" for [store.Anonymous].
func (in *session) named() string {
	if in.principal == store.Anonymous {
		return ""
	}
	return in.principal
}

// allow returns an error if the principal lacks a right to a topic, or to all topics of a
// pattern.
func (in *session) allow(right access.Right, topic string) error {
	if in.allows == nil || in.allows(right, topic) {
		return nil
	}
	preposition := "to"
	if right == access.Read {
		preposition = "from"
	}
	return in.deny(&fault.Error{
		Code: fault.Forbidden, At: -1,
		Text: fmt.Sprintf("%s has no right to %s %s %s", in.principal, right, preposition, topic),
	})
}

// denial reports whether a code means that the peer lacks a right.
func denial(c fault.Code) bool { return c == fault.Unauthenticated || c == fault.Forbidden }

// deny logs that a peer was denied something, and returns f. It logs at most one line a
// second for each address.
func (in *intake) deny(f *fault.Error) *fault.Error {
	if in.s.Logger != nil && denial(f.Code) && in.s.denied.take(in.conn.Host(), time.Second, 0, time.Now()) <= 0 {
		in.s.logPeer("access denied", append([]any{"remote", in.remote.String()}, faultAttrs(f)...)...)
	}
	return f
}
