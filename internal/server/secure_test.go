package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
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
			crowd(t, s.rules.Turns)
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
