package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/wire"
)

const connectTimeout = 10 * time.Second

// A choice is a list of equivalent servers, such as those of one store: their addresses,
// separated by commas. Its user stays with the one that was reached last.
type choice struct {
	addrs []string
	at    atomic.Uint32 // the index of the one to try first
}

// newChoice returns the choice between addresses, which begins with any of them, so that
// clients spread over the servers.
func newChoice(addrs string) *choice {
	c := &choice{addrs: strings.Split(addrs, ",")}
	c.at.Store(rand.Uint32N(uint32(len(c.addrs))))
	return c
}

// next leaves a server that is reached, and does not do what it is there for.
func (c *choice) next() { c.at.Store((c.at.Load() + 1) % uint32(len(c.addrs))) }

// A dialer connects to a server.
type dialer struct {
	servers *choice
	tls     *tls.Config // nil: the zero Config for tls:// addresses, else no TLS
	alpn    string
	dial    dialFunc // nil: a net.Dialer
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Connect connects to the server at addr as a [Client] does. alpn names the protocol for TLS,
// which is used if config is not nil or addr begins with tls://.
func Connect(ctx context.Context, addr string, config *tls.Config, alpn string) (net.Conn, error) {
	return dialer{servers: newChoice(addr), tls: config, alpn: alpn}.connect(ctx)
}

// connect connects to the first server that can be reached and, with TLS, completes the
// handshake.
func (d dialer) connect(ctx context.Context) (net.Conn, error) {
	var errs []error
	for range d.servers.addrs {
		conn, err := d.connectTo(ctx, d.servers.addrs[d.servers.at.Load()])
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
		d.servers.next()
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

// connectTo connects to one server, with less time if there are others.
func (d dialer) connectTo(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout/time.Duration(min(len(d.servers.addrs), 4)))
	defer cancel()
	network, where, withTLS, err := address.Dial(addr)
	if err != nil {
		return nil, err
	}
	dial := d.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, where)
	if err != nil {
		return nil, fmt.Errorf("dictwire: can't connect to %s: %w", where, address.Cause(err))
	}
	if withTLS || d.tls != nil {
		return d.secure(ctx, conn, network, where)
	}
	return conn, nil
}

// secure begins TLS on a connection. If that fails, it closes the connection.
func (d dialer) secure(ctx context.Context, conn net.Conn, network, where string) (net.Conn, error) {
	config := d.tls.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(where)
		if network == "unix" || err != nil {
			host = "localhost"
		}
		config.ServerName = cmp.Or(host, "localhost")
	}
	if config.NextProtos == nil && d.alpn != "" {
		config.NextProtos = []string{d.alpn}
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) {
			err = errors.New("the server does not speak it")
		}
		return nil, fmt.Errorf("dictwire: can't connect to %s: TLS: %w", where, address.Cause(err))
	}
	return secure, nil
}

// dialer returns the client's dialer.
func (c *Client) dialer() dialer {
	return dialer{servers: c.servers, tls: c.o.TLS, alpn: wire.ALPN, dial: c.o.DialContext}
}
