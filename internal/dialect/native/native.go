// Package native is the dialect of the native session: numbered records that are
// acknowledged when they are settled, and subscriptions that deliver them.
//
//	C: {"dictwire":1,"topic":"orders","producer":"till-7.k2x9"}
//	S: {"dictwire":1,"next":1,"durability":"fsync",…}
//	S: {"ack":0}
//	C: {"id":1}⏎{"id":2}⏎
//	S: {"ack":2}
//
// docs/protocol.md specifies it, and package wire has its messages. The greeting decides
// whether a connection writes or reads; write.go and read.go serve the two.
package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/wire"
)

// Kind is the dialect.
var Kind = dialect.Kind{
	Name: "native", Protocols: []dialect.Protocol{dialect.Native}, ALPN: []string{wire.ALPN},
	New: func(c dialect.Config) dialect.Dialect { return &native{c} },
}

// A native serves native sessions.
type native struct{ dialect.Config }

// Shutdown does nothing: everything comes over connections.
func (*native) Shutdown(context.Context) error { return nil }

// Open opens a session and answers its greeting. See [dialect.Dialect].
func (d *native) Open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (_ dialect.Serving, err error) {
	s, g, err := d.open(ctx, c, in)
	if err != nil {
		return nil, shutdown(err)
	}
	welcome := false
	defer func() {
		if !welcome {
			s.close()
		}
	}()
	if err := s.welcome(ctx, d, g); err != nil {
		return nil, shutdown(err)
	}
	welcome = true
	return serving{s}, nil
}

// A serving serves an opened session. See [dialect.Serving].
type serving struct{ opened }

// Serve implements [dialect.Serving].
func (s serving) Serve(ctx context.Context) error { return s.serve(ctx) }

// Close implements [dialect.Serving].
func (s serving) Close(err error) error {
	s.close()
	return shutdown(err)
}

// shutdown returns what the peer is told of an error: that the server is shutting down is a
// fault.
func shutdown(err error) error {
	if errors.Is(err, dialect.ErrDrained) {
		return errShutdown
	}
	return err
}

var errShutdown = &fault.Error{Code: fault.Shutdown, At: -1, Text: "the server is shutting down", Hint: "connect again"}

// An opened is a session whose greeting was accepted.
type opened interface {
	welcome(ctx context.Context, d *native, g *wire.Greeting) error // answers the greeting
	serve(ctx context.Context) error                                // until the session ends
	close()
}

// open receives a greeting and opens the session that it asks for.
func (d *native) open(ctx context.Context, c *dialect.Conn, in dialect.Intake) (s opened, g *wire.Greeting, err error) {
	if g, err = greeting(ctx, c); err != nil {
		return nil, nil, err
	}
	if g.Version != wire.Version {
		return nil, nil, &fault.Error{
			Code: fault.Version, At: -1,
			Text: fmt.Sprintf("version %d of the protocol is not served", g.Version),
			Hint: fmt.Sprintf(`greet with "dictwire":%d`, wire.Version),
		}
	}
	session, err := in.Open(ctx, dialect.Credentials{Token: g.Token})
	if err != nil {
		return nil, nil, err
	}
	if len(g.Subscribe) > 0 {
		s, err = d.read(ctx, c, session, g)
	} else {
		s, err = d.write(ctx, c, session, g)
	}
	return s, g, err
}

// greeting waits for the greeting and discards it.
func greeting(ctx context.Context, c *dialect.Conn) (*wire.Greeting, error) {
	scanner := json.Codec{}.NewScanner(codec.Limits{RecordBytes: wire.MaxGreeting})
	c.Greet(true)
	defer c.Greet(false)
	for {
		buf := c.Buffered()
		start, end, err := scanner.Next(buf)
		switch {
		case err == nil && end < len(buf):
			return parse(c, buf, start, end)
		case err != nil && !errors.Is(err, codec.ErrIncomplete):
			return nil, dialect.FaultOf(err, c.Offset()+int64(start))
		case err == nil:
			scanner.Release() // it is scanned again when a byte follows it
		}
		if err := c.More(ctx, true, nil); err == io.EOF {
			return nil, &fault.Error{
				Code: fault.Truncated, At: c.Offset() + int64(len(buf)),
				Text: "the connection ended within the greeting, which a line feed ends",
			}
		} else if err != nil {
			return nil, err
		}
	}
}

// parse parses the greeting at buf[start:end].
func parse(c *dialect.Conn, buf []byte, start, end int) (*wire.Greeting, error) {
	if buf[end] != '\n' {
		return nil, &fault.Error{
			Code: fault.Malformed, At: c.Offset() + int64(end),
			Text: "want one line feed after the greeting",
		}
	}
	g, err := wire.ParseGreeting(buf[start:end])
	var field *wire.FieldError
	switch {
	case errors.As(err, &field):
		return nil, &fault.Error{Code: fault.Malformed, At: -1, Text: "greeting: " + field.Error(), Err: err}
	case err != nil:
		return nil, dialect.FaultOf(err, c.Offset()+int64(start))
	}
	c.Discard(end + 1)
	return &g, nil
}

// accepted returns the codecs of the formats that a greeting accepts, in order of
// preference. Unknown formats are left out; it is an error if all are unknown.
func (d *native) accepted(g *wire.Greeting) (all []codec.Codec, err error) {
	for _, name := range g.Accept {
		var cd codec.Codec
		if cd, err = d.format(name); err == nil {
			all = append(all, cd)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, err
}

// format returns the codec that a greeting names.
func (d *native) format(name string) (codec.Codec, error) {
	if cd, ok := d.Codecs[name]; ok {
		return cd, nil
	}
	return nil, &fault.Error{
		Code: fault.Unsupported, At: -1,
		Text: fmt.Sprintf("format %.40q is not served", name),
		Hint: strings.Join(slices.Sorted(maps.Keys(d.Codecs)), ", ") + " are",
	}
}
