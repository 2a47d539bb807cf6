package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// serve serves one connection of an endpoint until its end, and closes it. active,
// where not nil, says whether to go on when the peer has said what it wants.
func (s *Server) serve(c *dialect.Conn, e *endpoint, active func() bool) {
	in := newIntake(s, c, e)
	err := s.session(c, in, active)
	in.forgetGrants()
	f := (*fault.Error)(nil)
	switch {
	case err == nil, err == io.EOF, errors.Is(err, dialect.ErrDrained), errors.Is(err, net.ErrClosed): // the last is Abort's doing
		err = nil
	case errors.As(err, &f):
		s.tell(c, e, f)
	case errors.As(err, new(handshakeError)): // the peer was told by an alert
	case c.Silent(): // a probe that was reset
		err = nil
	}
	if c.GaveWay() { // which is not to fill the log
		err = nil
	}
	if closing := c.Close(); err == nil && !c.GaveWay() && !errors.Is(closing, net.ErrClosed) {
		err = closing
	}
	in.ended(err)
}

// turnAway closes a connection that has got no place, and says why, if the peer
// listens.
func (s *Server) turnAway(c *dialect.Conn, e *endpoint) {
	if f := (*fault.Error)(nil); errors.As(c.Ended(), &f) {
		s.tell(c, e, f)
		_ = c.Flush()
	}
	_ = c.Abort()
}

// session tells what the connection speaks and serves that. A panic ends the
// connection, not the server.
func (s *Server) session(c *dialect.Conn, in *intake, active func() bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.Error{Code: fault.Internal, Text: "internal error", Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	if active != nil {
		in.use = sync.OnceValue(func() error {
			if !active() {
				return net.ErrClosed
			}
			return nil
		})
	}
	p, err := in.endpoint.sniff(s.ctx, c, func() bool {
		s.stats.connections.Add(1)
		return true
	})
	if p != dialect.Native && !c.Silent() { // one that greets may want no more: see used
		if err := in.used(); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	d := in.endpoint.dialects[p]
	if d == nil {
		return dialect.Refused(p, s.dialects.all[p] != nil)
	}
	s.stats.spoken(s.dialects.name(p))
	return d.Serve(s.ctx, c, in)
}

// tell writes a fault to the peer of an endpoint, in its own protocol: that is TLS, too,
// for who has said nothing yet where it is wanted.
func (s *Server) tell(c *dialect.Conn, e *endpoint, f *fault.Error) {
	cd := c.Codec
	if cd == nil {
		cd = json.Codec{}
	}
	protocol := c.Protocol()
	if c.Silent() && e.wants(c) {
		protocol = dialect.TLS
	}
	switch protocol {
	case dialect.HTTP:
		body, err := cd.Append(nil, f.Dict())
		if err != nil {
			return
		}
		body = append(body, cd.Terminator()...)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 501 Not Implemented\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			cd.MediaType(), len(body), body)
	case dialect.TLS:
		// A record of TLS 1.0, which all versions understand, with a fatal alert (RFC 8446,
		// section 6): handshake_failure where there is no TLS, else internal_error, which
		// is also for who can't be served now.
		alert := byte(40)
		if e.config != nil {
			alert = 80
		}
		_, _ = c.Write([]byte{21, 3, 1, 0, 2, 2, alert})
	default:
		_ = c.Reply(cd, f.Dict())
	}
	// Close reports what Flush says.
}
