package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/dialect"
)

// Handshakes compute in turns: a stranger's waits while known peers are active and others
// have just had theirs; those of a host with good records don't wait.
func TestHandshakesTakeTurns(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Topic: "default"}
		s.setup()
		var secure security
		secure.secure(web.TLS, nil, nil)
		shake := func(credit int) time.Duration {
			near, far := net.Pipe()
			c := dialect.NewConn(near, s.timed.Load())
			defer c.LeaveHost()
			defer func() { _ = c.Abort() }()
			c.Credit(credit)
			turns := s.rules.Turns
			turns.Host("known").Turn().Known()
			for range max(runtime.GOMAXPROCS(0)/4, 1) {
				turn := turns.Host("stranger").Turn()
				if err := turn.Begin(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				turn.End()
			}
			began := time.Now()
			shaken := make(chan error, 1)
			go func() {
				client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
				shaken <- client.HandshakeContext(t.Context())
			}()
			if err := secure.handshake(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			if err := <-shaken; err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			time.Sleep(time.Second)
			return took
		}
		if took := shake(-1000); took == 0 {
			t.Error("a stranger's handshake did not wait for its turn")
		}
		if took := shake(2000); took != 0 {
			t.Errorf("the handshake of a host of good records waited for %v", took)
		}
	})
}
