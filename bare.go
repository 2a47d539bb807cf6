package dictwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A BareConn is a connection over which a bare sequence is sent, as any program
// with a socket does: nothing is acknowledged. [Client] is what promises more.
// Send may be called by several goroutines at once, and so may Receive, but
// replies come in the order of the records.
type BareConn struct {
	conn    net.Conn
	codec   codec.Codec
	sending chan *sending // holds one: who has it may write
	receive chan *receiver
}

// A sending is the writing side of a connection.
type sending struct {
	begun bool // something may have been written
}

// A receiver reads replies.
type receiver struct {
	scanner codec.Scanner
	buf     []byte // read and not returned yet
}

// DialBare connects to the server at addr: host:port or unix:PATH; the empty addr
// is [DefaultAddr]. What is sent is JSON: see [Dialer.DialBare].
func DialBare(ctx context.Context, addr string) (*BareConn, error) {
	return Dialer{}.DialBare(ctx, addr)
}

// DialBare connects to the server at addr: see [DialBare]. Of d's fields, Codec
// counts: the format of what is sent and of what is answered.
func (d Dialer) DialBare(ctx context.Context, addr string) (*BareConn, error) {
	if d.Codec == nil {
		d.Codec = json.Codec{}
	}
	network, where, err := address.Dial(addr)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, where)
	if err != nil {
		return nil, fmt.Errorf("dictwire: can't connect to %s: %w", where, address.Cause(err))
	}
	c := &BareConn{conn: conn, codec: d.Codec, sending: make(chan *sending, 1), receive: make(chan *receiver, 1)}
	c.sending <- new(sending)
	c.receive <- &receiver{scanner: d.Codec.NewScanner(codec.Limits{})}
	return c, nil
}

// Send writes one dictionary to the connection: a [*dict.Dict], or a Go map or
// struct as [dict.From] converts it. That it returns nil means that the
// operating system has the record, not that the server does. An error that wraps
// ErrNotSent says that nothing of the record was written; after any other one, as
// where ctx ends meanwhile, the connection is of no more use.
//
// A first dictionary that the server would take for the greeting of a native session
// is refused: one in JSON whose first key is "dictwire", with an integer.
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

// record serializes what is sent.
func (c *BareConn) record(v any) ([]byte, error) {
	d, err := dict.From(v)
	if err != nil {
		return nil, err
	}
	return c.codec.Append(nil, d)
}

// Receive returns the next dictionary that the server sends, io.EOF at the end
// of them, or an error that wraps the *[fault.Error] which it reports.
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
				return nil, &remoteError{f}
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

// CloseWrite tells the server that no more records come. Replies still do.
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

// Close closes the connection. Send and Receive that wait return an error.
func (c *BareConn) Close() error { return c.conn.Close() }

// until makes what waits on the connection end when ctx does. The returned
// function ends that.
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

// cause returns ctx's cause where that is why a call failed.
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
