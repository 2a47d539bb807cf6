package client

import (
	"context"
	"fmt"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/wire"
)

// Ping opens a session and ends it.
func (c *Client) Ping(ctx context.Context) error {
	ctx, leave := within(ctx, c.ctx)
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.connect(ctx)
	switch {
	case err != nil && ctx.Err() == context.Canceled:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	g := wire.Greeting{Version: wire.Version, Topic: DefaultTopic, Format: c.o.Codec.Name(), Token: c.o.Token}
	_, writeErr := conn.Write(g.Append(nil)) // if writing fails, the server may still say why
	m, err := wire.NewReader(conn).Message()
	switch {
	case err != nil && ctx.Err() == context.DeadlineExceeded:
		return fmt.Errorf("dictwire: the server at %s does not answer: %w", c.addr, context.Cause(ctx))
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return broken(writeErr, err, c.addr)
	}
	switch m := m.(type) {
	case wire.Welcome:
		return nil
	case wire.Error:
		if m.Fault.Code == fault.Forbidden || m.Fault.Code == fault.Topic { // a client that may use other topics only has reached a dictwire server, too
			return nil
		}
		return &RemoteError{m.Fault}
	default:
		return fmt.Errorf("%w: want its greeting, got %T (%s)", ErrProtocol, m, c.addr)
	}
}
