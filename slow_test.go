package dictwire_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
)

// A handler may need more time for a batch than a client waits for a message: the client
// hears that the server is alive.
func TestSlowHandler(t *testing.T) {
	var handled, dialed atomic.Int64
	srv := &dictwire.Server{Handler: dictwire.HandlerFunc(func(context.Context, *dictwire.Request) (*dict.Dict, error) {
		handled.Add(1)
		time.Sleep(50 * time.Millisecond)
		return nil, nil
	})}
	inBubble(t, srv, func(t *testing.T, l *pipeListener) {
		c, err := dictwire.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) {
			dialed.Add(1)
			return l.dial(), nil
		}}.Dial(t.Context(), "127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		dialed.Store(0)
		const records = 5000
		for i := range records {
			if err := c.SendAsync(t.Context(), "t", dict.Of("n", i)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		if err := c.Flush(ctx); err != nil {
			t.Errorf("Flush: %v", err)
		}
		if handled.Load() != records || dialed.Load() != 1 {
			t.Errorf("%d records were handled %d times over %d connections", records, handled.Load(), dialed.Load())
		}
		_ = c.Close()
	})
}
