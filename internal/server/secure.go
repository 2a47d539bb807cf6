package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

const (
	// maxHandshake is how many bytes of a peer it may take, its certificates included.
	maxHandshake = 16 << 10

	// handshakeCost is what it takes of memory at most.
	handshakeCost = 4 * maxHandshake

	// handshakePressed is for how long one waits for its peer while others wait for memory.
	handshakePressed = time.Second
)

// security is what an endpoint has of TLS.
type security struct {
	config    *tls.Config      // nil: there is none
	plaintext []netip.Prefix   // who need not speak it
	greets    dialect.Protocol // what the server speaks first; Unknown: the peer does
	protocols []string         // what is offered within it
}

// secure makes what an endpoint needs for TLS.
func (s *security) secure(config *tls.Config, dialects map[dialect.Protocol]dialect.Dialect, kinds []dialect.Kind) {
	if config == nil {
		return
	}
	for _, k := range kinds {
		if len(k.Protocols) > 0 && dialects[k.Protocols[0]] != nil {
			s.protocols = append(s.protocols, k.ALPN...)
		}
	}
	if http := "http/1.1"; dialects[dialect.HTTP] != nil && !slices.Contains(s.protocols, http) {
		s.protocols = append(s.protocols, http)
	}
	s.config = s.use(config)
	if inner := s.config.GetConfigForClient; inner != nil {
		s.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			config, err := inner(hello)
			if config == nil || err != nil {
				return config, err
			}
			return s.use(config), nil
		}
	}
}

// use returns a config as an endpoint uses it.
func (s *security) use(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	// A ticket comes after the handshake. Who closes the connection without having read it,
	// as programs do that only send, resets it: what is on its way would be lost.
	config.SessionTicketsDisabled = true
	if config.NextProtos == nil {
		config.NextProtos = s.protocols
	}
	return config
}

// wants reports whether a peer has to speak TLS here.
func (s *security) wants(c *dialect.Conn) bool {
	if s.config == nil {
		return false
	}
	if s.greets != dialect.Unknown {
		return true
	}
	addr, ok := c.IP()
	return !ok || !slices.ContainsFunc(s.plaintext, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// sniff tells what a connection speaks, within TLS where it has begun with that.
func (s *security) sniff(ctx context.Context, c *dialect.Conn, active func() bool) (dialect.Protocol, error) {
	if s.greets != dialect.Unknown && s.config == nil {
		return s.greet(c, active)
	}
	p, err := c.Sniff(ctx, active)
	if p == dialect.TLS && s.config != nil && err == nil {
		if err := s.handshake(ctx, c); err != nil {
			return p, err
		}
		if s.greets != dialect.Unknown {
			return s.greet(c, nil)
		}
		return c.Sniff(ctx, nil)
	}
	if err != io.EOF && !c.Silent() && s.wants(c) && c.Ended() == nil {
		return p, &fault.Error{
			Code: fault.Plaintext, At: -1,
			Text: "this server wants TLS; nothing of this connection was taken",
			Hint: "connect with TLS, as to tls://HOST:PORT",
		}
	}
	return p, err
}

// greet says what a connection speaks where the server speaks first. Within TLS, all peers
// of such an endpoint do.
func (s *security) greet(c *dialect.Conn, active func() bool) (dialect.Protocol, error) {
	if active != nil && !active() {
		return dialect.Unknown, io.EOF
	}
	c.SetProtocol(s.greets)
	return s.greets, nil
}

// A handshakeError is why a connection has no TLS. The peer was told by an alert.
type handshakeError struct{ error }

func (e handshakeError) Error() string { return "TLS: " + e.error.Error() }
func (e handshakeError) Unwrap() error { return e.error }

// handshake makes TLS of a connection. It computes in turns of its own, as for whatever
// else a stranger asks.
func (s *security) handshake(ctx context.Context, c *dialect.Conn) error {
	c.Rest()
	shaking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := c.Worker()
	defer work.Rest()
	below := &handshake{Conn: c.Hijack(), left: maxHandshake, ctx: shaking, work: work}
	go below.hasten(cancel, c)
	secure := tls.Server(below, s.config)
	err := c.Hold(shaking, handshakeCost)
	if err == nil {
		err = secure.HandshakeContext(shaking)
	}
	if err != nil {
		c.Wrap(below.Conn)
		switch {
		case c.Ended() != nil:
			return c.Ended()
		case shaking.Err() != nil:
			err = context.Cause(shaking)
		}
		return handshakeError{err}
	}
	below.work = nil
	c.Wrap(secure)
	return nil
}

// A handshake is a connection of which it reads so many bytes; beyond it, any number.
type handshake struct {
	net.Conn
	ctx  context.Context //nolint:containedctx // the handshake's, whose reads know no other
	work *dialect.Worker // nil beyond it
	left int

	reading atomic.Int64 // since when the peer is waited for, in nanoseconds since 1970; 0: it is not
	waited  atomic.Int64 // for how long it was before, in nanoseconds
}

func (h *handshake) Read(p []byte) (int, error) {
	switch {
	case h.work == nil:
		return h.Conn.Read(p)
	case h.left == 0:
		return 0, errors.New("more than a handshake takes")
	}
	h.work.Rest()
	began := time.Now()
	h.reading.Store(began.UnixNano())
	n, err := h.Conn.Read(p[:min(len(p), h.left)])
	h.reading.Store(0)
	h.waited.Add(int64(time.Since(began)))
	h.left -= n
	if err == nil {
		err = h.work.Begin(h.ctx)
	}
	return n, err
}

// hasten ends a handshake that takes too long, until it has ended. It has less time while
// others wait for memory.
func (h *handshake) hasten(end context.CancelCauseFunc, c *dialect.Conn) {
	late := time.NewTimer(c.OpenTimeout())
	defer late.Stop()
	look := time.NewTicker(handshakePressed / 4)
	defer look.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-c.Ending():
			end(nil)
		case <-late.C:
			end(fmt.Errorf("no handshake within %v; Server.OpenTimeout raises the limit", c.OpenTimeout()))
		case now := <-look.C:
			since := h.reading.Load()
			if since != 0 && h.waited.Load()+now.UnixNano()-since >= int64(handshakePressed) && c.Pressed() {
				end(errors.New("the handshake came too slowly while others waited for memory"))
			}
		}
	}
}
