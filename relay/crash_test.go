package relay_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/testrand"
)

var (
	seeds  = flag.Int("crash.seeds", 3, "how many runs of crashes to try")
	first  = flag.Uint64("first", 1, "the seed of the first")
	losses = flag.Int("crash.losses", 8, "how many losses of power a run has")
)

// TestCrash repeatedly loses power at the relay, stops the upstream server, and cuts
// connections: what the relay acknowledged is upstream once and in order.
func TestCrash(t *testing.T) {
	for seed := range testrand.From(*first, *seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { crash(t, seed) })
	}
}

func crash(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	up, r := newNode(t), newNode(t)
	up.unserve()
	up.handler = dictwire.HandlerFunc(func(_ context.Context, req *dictwire.Request) (*dict.Dict, error) {
		if v, _ := req.Dict().Get("bad"); dict.Equal(v, dict.Bool(true)) {
			return nil, dictwire.Reject("", "bad")
		}
		return nil, nil
	})
	up.serve()
	cut := &cutter{}
	r.relayBy(up.addr, cut.dial)

	topics := []string{"a", "b"}
	sent := map[string]int{}
	bad := 0
	for range *losses {
		cut.after.Store(rng.Int64N(20_000) + 200)
		for _, topic := range topics {
			c, err := dictwire.Dialer{Producer: "s", Codec: json.Codec{}}.Dial(t.Context(), r.addr)
			if err != nil {
				t.Fatal(err)
			}
			for range rng.IntN(60) {
				sent[topic]++
				d := dict.Of("n", sent[topic])
				if sent[topic]%11 == 0 {
					d = dict.Of("n", sent[topic], "bad", true)
					bad++
				}
				if err := c.SendAsync(t.Context(), topic, d); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Flush(t.Context()); err != nil { // settled at the relay, whatever happens to it later
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if rng.IntN(2) == 0 {
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		}
		switch rng.IntN(4) {
		case 0:
			up.unserve()
			up.serve()
		case 1:
			r.unrelay()
			r.relayBy(up.addr, cut.dial)
		default:
			r.crash(rng, up.addr, cut.dial)
		}
	}
	cut.after.Store(1 << 40)
	for _, topic := range topics {
		var got, want []string
		for i := 1; i <= sent[topic]; i++ {
			if i%11 != 0 {
				want = append(want, fmt.Sprintf(`{"n":%d}`, i))
			}
		}
		eventually(t, func() string {
			return fmt.Sprintf("%d records of %s, of %d\n%s", len(want), topic, len(up.records(topic)), r.log.String())
		}, func() bool { got = up.records(topic); return len(got) >= len(want) })
		for i := range got {
			if i >= len(want) || got[i] != want[i] {
				t.Fatalf("%s has %d records, of %d; the %dth is %s", topic, len(got), len(want), i+1, got[i])
			}
		}
	}
	eventually(t, func() string { return fmt.Sprintf("%d rejected, of %d", bad, len(r.rejected())) },
		func() bool { return len(r.rejected()) == bad })
	if n := len(up.rejected()); n != bad {
		t.Errorf("%d rejected upstream, want %d", n, bad)
	}
}

// A lossy file system loses power between two operations.
type lossy struct{ *crashfs.FS }

// lose returns what is left after up to 40 operations, if they happen within 50 ms.
func (l *lossy) lose(rng *rand.Rand) *crashfs.FS {
	lost := make(chan struct{})
	l.CrashAfter(1+rng.IntN(40), true, sync.OnceFunc(func() { close(lost) }))
	select {
	case <-lost:
		return l.After()
	case <-time.After(50 * time.Millisecond):
		return l.Crash(true, rng)
	}
}

// A cutter makes connections that break after some bytes in either direction.
type cutter struct{ after atomic.Int64 }

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, c: c}, nil
}

type cutConn struct {
	net.Conn
	c    *cutter
	once sync.Once
}

func (c *cutConn) left(n int) int {
	left := c.c.after.Add(-int64(n))
	if left > 0 {
		return n
	}
	c.once.Do(func() {
		c.c.after.Store(5000)
		_ = c.Close()
	})
	return 0
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.left(n) < n {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:max(1, len(p)/2)])
	if err != nil || c.left(n) < n {
		return 0, io.ErrUnexpectedEOF
	}
	m, err := c.Conn.Write(p[n:])
	return n + m, err
}
