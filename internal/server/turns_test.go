package server

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/web"
)

// What an unknown peer sends waits for a turn also where a library handles it on its own,
// without a word to the server.
func TestFramesTakeTurns(t *testing.T) {
	kind, err := web.Kind(web.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, open string
		pings      func(w io.Writer) error
		pong       int // bytes
	}{
		{
			"HTTP/2", http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
			func(w io.Writer) error { return http2.NewFramer(w, nil).WritePing(false, [8]byte{}) }, 17,
		},
		{
			"WebSocket", "GET /v1/connect HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
			func(w io.Writer) error { _, err := io.WriteString(w, "\x89\x81\x00\x00\x00\x00x"); return err }, 3,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{Topic: "default", Dialects: []dialect.Kind{kind}}
				s.setup()
				at := &endpoint{dialects: s.dialects.all}
				near, far := net.Pipe()
				c := dialect.NewConn(near, s.timed.Load())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					s.serve(c, at, nil)
				}()
				answers := make(chan byte, 1<<10)
				go func() {
					var b [1]byte
					for {
						if _, err := far.Read(b[:]); err != nil {
							return
						}
						answers <- b[0]
					}
				}()
				_, _ = io.WriteString(far, test.open)
				synctest.Wait()
				for len(answers) > 0 {
					<-answers
				}
				crowd(t, s.rules.Turns)
				began := time.Now()
				if err := test.pings(far); err != nil {
					t.Fatal(err)
				}
				for range test.pong {
					<-answers
				}
				if time.Since(began) == 0 {
					t.Error("a ping did not wait for a turn")
				}
				_ = far.Close()
				<-ended
				time.Sleep(time.Minute)
			})
		})
	}
}
