package server

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// serve serves one connection of an endpoint until it ends, and closes it. active, if not
// nil, is called once the protocol is known, and reports whether to go on.
func (s *Server) serve(c *dialect.Conn, e *endpoint, active func() bool) {
	newIntake(s, c, e, active).serve()
}

// serve serves the connection until it ends, and closes it.
func (in *intake) serve() { in.finish(in.session()) }

// finish closes a connection that has been served. err says why it ended.
func (in *intake) finish(err error) {
	s, c := in.s, in.conn
	in.forgetGrants()
	f := (*fault.Error)(nil)
	switch {
	case err == nil, err == io.EOF, errors.Is(err, dialect.ErrDrained), errors.Is(err, net.ErrClosed): // closed by Abort
		err = nil
	case errors.As(err, &f):
		c.Failed(f)
		s.tell(c, in.endpoint, f)
	case errors.As(err, new(handshakeError)): // the peer was told by an alert
	case c.Silent(): // a probe that was reset
		err = nil
	}
	if c.GaveWay() { // the log is not filled with these
		err = nil
	}
	if closing := c.Close(); err == nil && !c.GaveWay() && !errors.Is(closing, net.ErrClosed) {
		err = closing
	}
	in.ended(err)
}

// turnAway closes a connection that got no place, and tells the peer why.
func (s *Server) turnAway(c *dialect.Conn, e *endpoint) {
	if f := (*fault.Error)(nil); errors.As(c.Ended(), &f) {
		s.tell(c, e, f)
		_ = c.Flush()
	}
	_ = c.Abort()
}

// session finds out which protocol the connection speaks and serves it. A panic ends the
// connection, not the server.
func (in *intake) session() (err error) {
	defer dialect.Recover(&err, "internal error")
	if err := in.open(); in.serving == nil {
		return err
	}
	defer in.closeServing(&err)
	return in.serving.Serve(in.s.ctx)
}

// open opens the connection in the dialect that it speaks.
func (in *intake) open() error {
	d, err := in.dialect()
	if err == nil {
		in.serving, err = d.Open(in.s.ctx, in.conn, in)
	}
	return err
}

// closeServing closes what open has opened. err is the session's error.
func (in *intake) closeServing(err *error) { *err = in.serving.Close(*err) }

// dialect waits for the first bytes and returns the dialect that serves the connection.
func (in *intake) dialect() (dialect.Dialect, error) {
	s, c := in.s, in.conn
	p, err := in.endpoint.sniff(s.ctx, c, func() bool {
		s.stats.connections.Add(1)
		return true
	})
	if p != dialect.Native && !c.Silent() { // a session that has only greeted may not count: see used
		if err := in.used(); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	d := in.endpoint.dialects[p]
	if d == nil {
		return nil, dialect.Refused(p, s.dialects.all[p] != nil)
	}
	s.stats.spoken(s.dialects.name(p))
	return d, nil
}

// tell writes a fault to the peer in its own protocol. A peer that has said nothing yet
// gets a TLS alert if the endpoint requires TLS.
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
		// An alert in a record of TLS 1.0, which every version understands (RFC 8446,
		// section 6): handshake_failure if the endpoint has no TLS, otherwise
		// internal_error, which also stands for "no place".
		alert := byte(40)
		if e.config != nil {
			alert = 80
		}
		_, _ = c.Write([]byte{21, 3, 1, 0, 2, 2, alert})
	default:
		_ = c.Reply(cd, f.Dict())
	}
	// Close returns the error of Flush
}
