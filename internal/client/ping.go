package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/wire"
)

// Ping opens a session and ends it.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	g := wire.Greeting{Version: wire.Version, Topic: defaultTopic, Format: c.o.Codec.Name(), Token: c.o.Token}
	_, writeErr := conn.Write(g.Append(nil)) // where that fails, the server may say why
	m, err := wire.NewReader(conn).Message()
	var bad *wire.MessageError
	switch {
	case errors.As(err, &bad):
		return fmt.Errorf("%w: %w (%s)", ErrProtocol, bad, c.addr)
	case ctx.Err() == context.DeadlineExceeded:
		return fmt.Errorf("dictwire: the server at %s does not answer: %w", c.addr, context.Cause(ctx))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case writeErr != nil:
		return fmt.Errorf("dictwire: the connection broke: %w", address.Cause(writeErr))
	case err == io.EOF:
		return errors.New("dictwire: the server closed the connection")
	case err != nil:
		return fmt.Errorf("dictwire: the connection broke: %w", address.Cause(err))
	}
	switch m := m.(type) {
	case wire.Welcome:
		return nil
	case wire.Error:
		if m.Fault.Code == fault.Forbidden || m.Fault.Code == fault.Topic { // it may have rights on other topics
			return nil
		}
		return &RemoteError{m.Fault}
	default:
		return fmt.Errorf("%w: want its greeting, got %T (%s)", ErrProtocol, m, c.addr)
	}
}
