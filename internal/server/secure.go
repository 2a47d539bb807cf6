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
	// maxHandshake is the most bytes that a peer may send in a handshake, its
	// certificates included.
	maxHandshake = 16 << 10

	// handshakeCost is the memory charged for a handshake, in bytes.
	handshakeCost = 4 * maxHandshake

	// handshakePressed is how long a handshake may wait for its peer while others wait
	// for memory.
	handshakePressed = time.Second
)

// security is the TLS of an endpoint.
type security struct {
	config    *tls.Config      // or nil
	plaintext []netip.Prefix   // hosts that may connect without it
	greets    dialect.Protocol // the protocol in which the server speaks first, or Unknown
	protocols []string         // offered by ALPN
}

// secure prepares the TLS of an endpoint.
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

// use returns a copy of config with the settings that an endpoint needs.
func (s *security) use(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	// A session ticket is sent after the handshake. A peer that only sends, and closes
	// the connection without reading the ticket, would reset it and lose data in flight.
	config.SessionTicketsDisabled = true
	if config.NextProtos == nil {
		config.NextProtos = s.protocols
	}
	return config
}

// wants reports whether the peer must use TLS here.
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

// sniff finds out which protocol a connection speaks, inside TLS if the connection begins
// with a handshake.
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

// greet sets the protocol of a connection on which the server speaks first. On an
// endpoint with TLS, every peer of that protocol must use TLS.
func (s *security) greet(c *dialect.Conn, active func() bool) (dialect.Protocol, error) {
	if active != nil && !active() {
		return dialect.Unknown, io.EOF
	}
	c.SetProtocol(s.greets)
	return s.greets, nil
}

// A handshakeError says why a handshake failed. The peer has been told by an alert.
type handshakeError struct{ error }

func (e handshakeError) Error() string { return "TLS: " + e.error.Error() }
func (e handshakeError) Unwrap() error { return e.error }

// handshake makes the TLS handshake. Its computations take turns, like everything else
// that an unknown peer can ask for.
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

// A handshake is a connection that limits how many bytes are read during the handshake,
// and none after it.
type handshake struct {
	net.Conn
	ctx  context.Context //nolint:containedctx // net.Conn.Read has no context
	work *dialect.Worker // nil after the handshake
	left int

	reading atomic.Int64 // when the current wait for the peer began, in nanoseconds since 1970; 0: none
	waited  atomic.Int64 // total of all earlier waits, in nanoseconds
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

// hasten cancels a handshake that takes too long, and earlier if others wait for memory. It
// returns when the handshake has ended.
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
