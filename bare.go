package dictwire

import (
	"context"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
)

// A BareConn is a connection over which a bare sequence is sent, as any program
// with a socket does: nothing is acknowledged. [Client] is what promises more.
// Send may be called by several goroutines at once, and so may Receive, but
// replies come in the order of the records.
type BareConn struct {
	core *client.BareConn
}

// DialBare connects to the server at addr: host:port or unix:PATH; the empty addr
// is [DefaultAddr]. What is sent is JSON: see [Dialer.DialBare].
func DialBare(ctx context.Context, addr string) (*BareConn, error) {
	return Dialer{}.DialBare(ctx, addr)
}

// DialBare connects to the server at addr: see [DialBare]. Of d's fields, Codec
// counts: the format of what is sent and of what is answered.
func (d Dialer) DialBare(ctx context.Context, addr string) (*BareConn, error) {
	core, err := client.DialBare(ctx, addr, d.Codec)
	if err != nil {
		return nil, err
	}
	return &BareConn{core}, nil
}

// Send writes one dictionary to the connection: a [*dict.Dict], or a Go map or
// struct as [dict.From] converts it. That it returns nil means that the
// operating system has the record, not that the server does. An error that wraps
// ErrNotSent says that nothing of the record was written; after any other one, as
// where ctx ends meanwhile, the connection is of no more use.
//
// A first dictionary that the server would take for the greeting of a native session
// is refused: one in JSON whose first key is "dictwire", with an integer.
func (c *BareConn) Send(ctx context.Context, v any) error { return c.core.Send(ctx, v) }

// Receive returns the next dictionary that the server sends, io.EOF at the end
// of them, or an error that wraps the *[fault.Error] which it reports.
func (c *BareConn) Receive(ctx context.Context) (*dict.Dict, error) { return c.core.Receive(ctx) }

// CloseWrite tells the server that no more records come. Replies still do.
func (c *BareConn) CloseWrite() error { return c.core.CloseWrite() }

// Close closes the connection. Send and Receive that wait return an error.
func (c *BareConn) Close() error { return c.core.Close() }
