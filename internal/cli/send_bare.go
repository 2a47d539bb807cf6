package cli

import (
	"context"
	"errors"
	"io"

	"github.com/dictwire/dictwire/internal/client"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// overBare sends a source as a bare sequence, and prints the answers.
func (s *send) overBare(ctx context.Context, next source) error {
	var c *client.BareConn
	err := s.dial(ctx, func() (err error) {
		c, err = client.DialBare(ctx, s.addr, s.wire()[s.format.value], s.config)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	answered := make(chan error, 1)
	refused := false // read after answered
	go func() {
		var err error
		refused, err = s.receive(ctx, c)
		answered <- err
	}()
	sent := s.each(ctx, next, func(d *dict.Dict) error { return c.Send(ctx, d) })
	if err := c.CloseWrite(); sent == nil { // in any case, for the answers
		sent = err
	}
	if ctx.Err() != nil {
		_ = c.Close()
	}
	err = <-answered
	if refused {
		return nil // the refusal explains why writing failed
	}
	if sent != nil {
		return sent
	}
	return err
}

// receive prints the server's answers until the server closes the connection, and reports
// whether one was a refusal.
func (s *send) receive(ctx context.Context, c *client.BareConn) (refused bool, err error) {
	var line []byte
	for {
		d, err := c.Receive(ctx)
		var remote *fault.Error
		switch {
		case err == io.EOF:
			return refused, nil
		case errors.As(err, &remote):
			s.tell(serverError{err})
			s.rejected.Add(1)
			refused = true
			continue
		case err != nil:
			return refused, err
		}
		if !s.reply {
			continue
		}
		line = append(json.Render(line[:0], d, nil), '\n')
		if _, err := s.stdout.Write(line); err != nil {
			return refused, err
		}
	}
}
