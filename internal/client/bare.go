package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A BareConn is a connection for sending a bare sequence of dictionaries.
type BareConn struct {
	conn    net.Conn
	codec   codec.Codec
	sending chan *sending // holds one token; its owner may write
	receive chan *receiver
}

// A sending is the writing side of a connection.
type sending struct {
	begun bool // bytes may have been written
}

// A receiver reads replies.
type receiver struct {
	scanner codec.Scanner
	buf     []byte // received, and not returned yet
}

// DialBare connects to the server at addr. format is that of what is sent; nil means JSON. A
// nil config means no TLS, unless addr begins with tls://.
func DialBare(ctx context.Context, addr string, format codec.Codec, config *tls.Config) (*BareConn, error) {
	if format == nil {
		format = json.Codec{}
	}
	conn, err := dialer{servers: newChoice(addr), tls: config}.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &BareConn{conn: conn, codec: format, sending: make(chan *sending, 1), receive: make(chan *receiver, 1)}
	c.sending <- new(sending)
	c.receive <- &receiver{scanner: format.NewScanner(codec.Limits{})}
	return c, nil
}

// Send writes one dictionary to the connection.
func (c *BareConn) Send(ctx context.Context, v any) error {
	record, err := c.record(v)
	if err != nil {
		return notSentError{err}
	}
	var s *sending
	select {
	case s = <-c.sending:
	case <-ctx.Done():
		return notSentError{context.Cause(ctx)}
	}
	defer func() { c.sending <- s }()
	if ctx.Err() != nil {
		return notSentError{context.Cause(ctx)}
	}
	if p, _ := dialect.Sniff(record); p == dialect.Native && !s.begun {
		return notSentError{errGreeting}
	}
	s.begun = true
	stop := c.until(ctx, c.conn.SetWriteDeadline)
	_, err = c.conn.Write(append(record, c.codec.Terminator()...))
	if stop(); err != nil {
		return fmt.Errorf("dictwire: send: %w", cause(ctx, err))
	}
	return nil
}

var errGreeting = errors.New(`dictwire: send: a server takes a connection's first dictionary for a greeting ` +
	`if its first key is "dictwire"; send it over a native session, or with another key in front`)

// record serializes v.
func (c *BareConn) record(v any) ([]byte, error) {
	d, err := dict.From(v)
	if err != nil {
		return nil, err
	}
	return c.codec.Append(nil, d)
}

// Receive returns the next dictionary that the server sends.
func (c *BareConn) Receive(ctx context.Context) (*dict.Dict, error) {
	var r *receiver
	select {
	case r = <-c.receive:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { c.receive <- r }()
	stop := c.until(ctx, c.conn.SetReadDeadline)
	defer stop()
	for {
		start, end, err := r.scanner.Next(r.buf)
		switch {
		case err == nil:
			// A copy: the dictionary refers to its bytes.
			d, err := c.codec.Decode(append([]byte(nil), r.buf[start:end]...), codec.Limits{})
			r.buf = append(r.buf[:0], r.buf[end:]...)
			if err != nil {
				return nil, fmt.Errorf("dictwire: receive: %w", err)
			}
			if f := reported(d); f != nil {
				return nil, &RemoteError{f}
			}
			return d, nil
		case !errors.Is(err, codec.ErrIncomplete):
			return nil, fmt.Errorf("dictwire: receive: %w", err)
		}
		r.buf = append(r.buf[:0], r.buf[start:]...)
		var chunk [4096]byte
		n, err := c.conn.Read(chunk[:])
		r.buf = append(r.buf, chunk[:n]...)
		switch {
		case n > 0:
		case err == io.EOF && len(r.buf) == 0:
			return nil, io.EOF
		case err == io.EOF:
			return nil, fmt.Errorf("dictwire: receive: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return nil, fmt.Errorf("dictwire: receive: %w", cause(ctx, err))
		}
	}
}

// CloseWrite tells the server that no more records follow. Replies can still be received.
func (c *BareConn) CloseWrite() error {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	if err := half.CloseWrite(); err != nil {
		return fmt.Errorf("dictwire: send: %w", address.Cause(err))
	}
	return nil
}

// Close closes the connection. Waiting calls of Send and Receive return an error.
func (c *BareConn) Close() error { return c.conn.Close() }

// until interrupts reads and writes of the connection when ctx ends. The returned function
// must be called in the end.
func (c *BareConn) until(ctx context.Context, setDeadline func(time.Time) error) (stop func()) {
	ended := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		_ = setDeadline(time.Unix(1, 0))
		close(ended)
	})
	return func() {
		if !unhook() {
			<-ended
			_ = setDeadline(time.Time{})
		}
	}
}

// cause returns ctx's cause if that is why a call failed, or else err.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return address.Cause(err)
}

func textOf(d *dict.Dict, key string) (string, bool) {
	v, _ := d.Get(key)
	return v.Text()
}

// reported returns the fault that d describes, or nil if d is a reply.
func reported(d *dict.Dict) *fault.Error {
	text, isText := textOf(d, "error")
	code, isCode := textOf(d, "code")
	if !isText || !isCode {
		return nil
	}
	f := &fault.Error{Code: fault.Code(code), Text: text, At: -1}
	if v, ok := d.Get("at"); ok {
		if at, ok := v.Int(); ok {
			f.At = at
		}
	}
	return f
}
