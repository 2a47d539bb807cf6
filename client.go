package dictwire

import (
	"context"
	"io"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// Send sends one dictionary to the server at addr and waits until the server
// has served it. v is a [*dict.Dict], or a Go map or struct as [dict.From]
// converts it. reply is what the server's handler replies, or nil.
//
// It speaks a bare JSON sequence: that it returns nil means that the server took
// the record in and had nothing to say against it. A refusal is a
// *[RemoteError].
func Send(ctx context.Context, addr string, v any) (reply *dict.Dict, err error) {
	c, err := DialBare(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Send(ctx, v); err != nil {
		return nil, err
	}
	if err := c.CloseWrite(); err != nil {
		return nil, err
	}
	reply, err = c.Receive(ctx)
	if err == io.EOF {
		return nil, nil
	}
	return reply, err
}

// A Dialer connects to servers. The zero Dialer is ready to use.
type Dialer struct {
	// Codec is what is sent, and what the server answers in: one that servers
	// understand in bare sequences. Nil means JSON.
	Codec codec.Codec
}
