// Package forward lets a server take records of Fluent Forward, which Fluentd, Fluent Bit
// and the loggers of many languages speak, on the port where it speaks everything else:
//
//	srv := &dictwire.Server{Dialects: []dictwire.Dialect{forward.Dialect}}
//
// The protocol is in docs/protocol.md. A client that has a shared key says nothing until
// the server has spoken; it needs an endpoint of its own:
//
//	secure := forward.Secure{SharedKey: key}
//	srv := &dictwire.Server{Dialects: []dictwire.Dialect{forward.Dialect, secure}}
//	go srv.Serve(dictwire.Endpoint{Listener: l, Dialects: []string{forward.SecureName}})
package forward

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/forward"
)

// Dialect is Fluent Forward without a handshake.
var Dialect dictwire.Dialect = plain{}

type plain struct{}

// Kind returns the dialect as servers have it.
func (plain) Kind() dialect.Kind { return forward.Kind }

// SecureName is the name of the dialect that [Secure] is.
const SecureName = forward.SecureName

// Secure is Fluent Forward with its handshake, at endpoints that serve nothing else. Its
// messages may be read by others on the way, unless the endpoint has TLS.
type Secure struct {
	SharedKey string            // that clients have to know
	Users     map[string]string // passwords by names; nil: clients name no user
	Hostname  string            // of the server, which must not be a client's; "": that of the system
}

// Kind returns the dialect as servers have it.
func (s Secure) Kind() dialect.Kind {
	host, _ := os.Hostname() // a server without a name is called so
	o := &forward.Options{SharedKey: s.SharedKey, Users: s.Users, Hostname: cmp.Or(s.Hostname, host, "dictwire")}
	return o.Kind()
}

// Heartbeat answers the heartbeats of clients that send them by UDP, one byte of zero,
// until ctx ends or c fails. It closes c.
func Heartbeat(ctx context.Context, c net.PacketConn) error {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	buf := make([]byte, 16)
	for {
		n, from, err := c.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // what another host's ICMP says of an answer
			continue
		}
		if n == 1 && buf[0] == 0 {
			_, _ = c.WriteTo(buf[:1], from) // a heartbeat that is lost is another's that is late
		}
	}
}
