package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/native"
	"github.com/dictwire/dictwire/internal/dialect/stream"
)

// dialectOf returns the dialect of what a connection speaks, or nil where it is
// not served.
func (s *Server) dialectOf(p dialect.Protocol) dialect.Dialect {
	switch p {
	case dialect.JSON:
		return stream.Dialect{Codec: s.JSON, Limits: s.limits()}
	case dialect.CBOR:
		return stream.Dialect{Codec: cbor.Codec{}, Limits: s.limits()}
	case dialect.MessagePack:
		return stream.Dialect{Codec: msgpack.Codec{}, Limits: s.limits()}
	case dialect.Pickle:
		return stream.Dialect{Codec: pickle.Codec{}, Limits: s.limits()}
	case dialect.Native:
		return native.Dialect{Codecs: s.codecs, Limits: s.limits(), Durability: s.store.Limits().Durability}
	default:
		return nil
	}
}

// serve serves one connection until its end, and closes it. active, where not
// nil, says after the first byte whether to go on.
func (s *Server) serve(c *dialect.Conn, active func() bool) {
	in := newIntake(s, c)
	err := s.session(c, in, active)
	f := (*fault.Error)(nil)
	switch {
	case err == nil, err == io.EOF, errors.Is(err, dialect.ErrDrained), errors.Is(err, net.ErrClosed): // the last is Abort's doing
		err = nil
	case errors.As(err, &f):
		s.tell(c, in.protocol, f)
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

// session tells what the connection speaks and serves that. A panic ends the
// connection, not the server.
func (s *Server) session(c *dialect.Conn, in *intake, active func() bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.Error{Code: fault.Internal, Text: "internal error", Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	p, err := c.Sniff(s.ctx, func() bool {
		if active != nil && !active() {
			return false
		}
		s.stats.connections.Add(1)
		return true
	})
	if err != nil {
		return err
	}
	in.protocol = p
	d := s.dialectOf(p)
	if d == nil {
		return dialect.Refused(p)
	}
	return d.Serve(s.ctx, c, in)
}

// tell writes a fault to the peer, in its own protocol.
func (s *Server) tell(c *dialect.Conn, p dialect.Protocol, f *fault.Error) {
	cd := c.Codec
	if cd == nil {
		cd = json.Codec{}
	}
	switch p {
	case dialect.HTTP:
		body, err := cd.Append(nil, f.Dict())
		if err != nil {
			return
		}
		body = append(body, cd.Terminator()...)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 501 Not Implemented\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			cd.MediaType(), len(body), body)
	case dialect.TLS:
		// A record of TLS 1.0, which all versions understand: the fatal alert
		// handshake_failure (RFC 8446, section 6).
		_, _ = c.Write([]byte{21, 3, 1, 0, 2, 2, 40})
	default:
		_ = c.Reply(cd, f.Dict())
	}
	// Close reports what Flush says.
}
