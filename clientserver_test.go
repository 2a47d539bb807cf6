package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store/memory"
)

// A cutter makes connections that break after some bytes in either direction.
type cutter struct {
	seed  uint64
	up    int // at most; 0: no limit
	down  int
	conns atomic.Uint64
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(c.seed, c.conns.Add(1)))
	return &cutConn{Conn: conn, up: 1 + r.IntN(c.up), down: 1 + r.IntN(c.down)}, nil
}

type cutConn struct {
	net.Conn
	up, down int // bytes left
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) <= c.up {
		c.up -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.up])
	c.up = 0
	_ = c.Close()
	return n, net.ErrClosed
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.down == 0 {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(len(p), c.down)])
	c.down -= n
	return n, err
}

// judge rejects every seventh record, and replies to every fifth of the others.
func judge(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
	v, _ := r.Dict().Get("n")
	n, _ := v.Int()
	switch {
	case n%7 == 0:
		return nil, dictwire.Reject("seven", fmt.Sprintf("%d is a multiple of 7", n))
	case n%5 == 0:
		return dict.Of("n", -n), nil
	}
	return nil, nil
}

// Connections break at all places. Every record is in its topic once and in order, or
// rejected once, and every outcome is reported.
func TestExactlyOnce(t *testing.T) {
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(judge)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const count = 2000
	var rejected atomic.Int64
	cut := &cutter{seed: 1, up: 4000, down: 12_000}
	c, err := dictwire.Dialer{
		DialContext: cut.dial, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
		WindowRecords: 500, // otherwise more rejections are repeated than fit on a connection
		OnRejected: func(e *dictwire.RejectedError) {
			rejected.Add(1)
			if e.Topic != "async" || e.Reason != "seven" || !strings.HasSuffix(e.Text, "is a multiple of 7") {
				t.Error(e)
			}
		},
	}.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := 1; i <= count; i++ {
			if err := c.SendAsync(ctx, "async", n(i)); err != nil {
				t.Error(err)
				return
			}
		}
		if err := c.Flush(ctx); err != nil {
			t.Error(err)
		}
	})
	for g := range 4 {
		sending.Go(func() {
			topic := fmt.Sprint("sync.", g)
			for i := 1; i <= count/20; i++ {
				var e *dictwire.RejectedError
				reply, err := c.Send(ctx, topic, n(i))
				if isRejected := errors.As(err, &e); isRejected != (i%7 == 0) || !isRejected && err != nil {
					t.Error(i, err)
					return
				}
				if reply != nil && (i%5 != 0 || reply.String() != fmt.Sprintf("{'n': %d}", -i)) {
					t.Error(i, reply)
				}
			}
		})
	}
	sending.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := rejected.Load(); got != count/7 {
		t.Errorf("%d rejected, want %d", got, count/7)
	}
	if n := cut.conns.Load(); n < 10 {
		t.Errorf("%d connections", n)
	}

	cut = &cutter{seed: 2, up: 1000, down: 20_000}
	c, err = dictwire.Dialer{Codec: json.Codec{}, DialContext: cut.dial, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, req := range map[string]dictwire.SubscribeRequest{
		"without a cursor": {},
		"with a cursor":    {Cursor: "c", Codec: cbor.Codec{}},
	} {
		last := make(map[string]int64)
		total := 0
		for b, err := range c.Subscribe(ctx, req) {
			if err != nil {
				t.Fatal(name, err)
			}
			for d, err := range b.All() {
				v, _ := d.Get("n")
				n, ok := v.Int()
				want := last[b.Topic] + 1
				if want%7 == 0 {
					want++
				}
				if err != nil || !ok || n != want {
					t.Fatalf("%s: %s: %v, %v, want %d", name, b.Topic, d, err, want)
				}
				last[b.Topic] = n
				total++
			}
			if req.Cursor != "" {
				if err := b.Commit(ctx); err != nil {
					t.Fatal(name, err)
				}
			}
		}
		if want := count - count/7 + 4*(count/20-count/20/7); total != want {
			t.Errorf("%s: %d records, want %d", name, total, want)
		}
	}
	if n := cut.conns.Load(); n < 5 {
		t.Errorf("%d connections", n)
	}
}

// Senders and readers do not notice a restart of the server.
func TestServerRestarts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st := memory.New(nil)
	socket := "unix:" + filepath.Join(t.TempDir(), "s")
	var srv *dictwire.Server
	restart := func() {
		if srv != nil {
			if err := srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}
		srv = &dictwire.Server{Store: st}
		startOn(t, srv, socket)
	}
	restart()
	c, err := dictwire.Dialer{Codec: json.Codec{}, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}.Dial(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	i := 0 // the last one that was read
	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Follow: true, Cursor: "c"}) {
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range b.All() {
			if i++; err != nil || !d.Equal(n(i)) {
				t.Fatalf("%v, %v, want %v", d, err, n(i))
			}
		}
		if err := b.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			break
		}
		if i%2 == 0 {
			restart()
		}
		if _, err := c.Send(ctx, "t", n(i+1)); err != nil {
			t.Fatal(err)
		}
	}
}
