package web_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/servertest"
)

// Between requests of HTTP/1, net/http soon has nothing of a connection, unless bytes of the
// next request have come. The connection goes on whenever that may be, and ends after two
// minutes of silence.
func TestRest(t *testing.T) {
	const (
		get  = "GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n"
		post = "POST /v1/topics/t HTTP/1.1\r\nHost: server\r\nContent-Length: 7\r\n\r\n{\"a\":1}"
	)
	config, _ := certified(t)
	for name, secure := range map[string]*tls.Config{"plain": nil, "TLS": config} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := servertest.InMemory(t, &dictwire.Server{Dialects: []dictwire.Dialect{web.Dialect}}, secure)
				c := p.Dial()
				if secure != nil {
					c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				}
				r := bufio.NewReader(c)
				say := func(rests bool, text string, answers int) {
					t.Helper()
					if _, err := io.WriteString(c, text); err != nil {
						t.Fatal(err)
					}
					for range answers {
						answer, err := http.ReadResponse(r, nil)
						if err != nil || answer.StatusCode != http.StatusOK {
							t.Fatalf("after %q: %v, %v", text, answer, err)
						}
						_, _ = io.Copy(io.Discard, answer.Body)
						_ = answer.Body.Close()
					}
					time.Sleep(3 * time.Second)
					if served := servedByHTTP(); served == rests {
						t.Errorf("3 s after %q: net/http has the connection: %v", text, served)
					}
				}
				say(true, get, 1)
				say(true, post, 1)
				say(false, post+"GE", 1)
				say(true, strings.TrimPrefix(get, "GE"), 1)
				say(false, "G", 0)
				say(false, strings.TrimPrefix(get, "G")[:20], 0)
				say(true, strings.TrimPrefix(get, "G")[20:], 1)
				say(true, get+post+get, 3)
				say(false, post+"\r\n", 1) // as old clients do
				say(true, get, 1)
				before := time.Now().Add(-3 * time.Second)
				if n, err := r.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("%d bytes, %v", n, err)
				}
				if after := time.Since(before).Round(time.Second); after != 2*time.Minute {
					t.Errorf("closed after %v", after)
				}
				_ = c.Close()
			})
		})
	}
}

// A connection that rests ends with the server, and can become a WebSocket.
func TestRestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dictwire.Server{Dialects: []dictwire.Dialect{web.Dialect}}
		p := servertest.InMemory(t, srv, nil)
		var all []net.Conn
		for range 2 {
			c := p.Dial()
			defer c.Close()
			expect(t, c, "GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n", http.StatusOK)
			all = append(all, c)
		}
		time.Sleep(3 * time.Second)
		expect(t, all[0], handshake+"\r\n", http.StatusSwitchingProtocols)
		time.Sleep(3 * time.Second)
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, c := range all {
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Error(err)
			}
		}
	})
}

// expect sends a request and checks the status of the answer.
func expect(t *testing.T, c net.Conn, request string, status int) {
	t.Helper()
	_, _ = io.WriteString(c, request) // a failure shows in the answer
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != status {
		t.Fatalf("after %q: %v, %v", request, answer, err)
	}
	_ = answer.Body.Close()
}

// servedByHTTP reports whether net/http serves a connection.
func servedByHTTP() bool {
	buf := make([]byte, 1<<20)
	return strings.Contains(string(buf[:runtime.Stack(buf, true)]), "net/http.(*conn).serve(")
}
