package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// BenchmarkPost measures durably acknowledged dictionaries per second of 64 connections
// with 1,000 in flight each: in native sessions, and in HTTP requests one after another,
// without a key and with a key each.
func BenchmarkPost(b *testing.B) {
	const conns, inflight = 64, 1000
	b.Run("by=session", func(b *testing.B) {
		s := newServer(b, diskDir(b))
		benchSession(b, &s.process, conns, func(i int) (*client, error) { return dial(s.addr, fmt.Sprintf("s%d", i), inflight, small) })
	})
	for _, by := range []string{"http", "http, with a key"} {
		b.Run("by="+by, func(b *testing.B) {
			s := newServer(b, diskDir(b))
			benchSession(b, &s.process, conns, func(i int) (*client, error) {
				l := newLoad("", small, "\n", inflight)
				if err := l.connect(s.addr); err != nil {
					return nil, err
				}
				p := &poster{Conn: l.conn}
				if by != "http" {
					p.name = fmt.Sprintf("c%d", i)
				}
				l.conn = p
				return &client{l, l.answer}, nil
			})
		})
	}
}

// A poster sends each write as a request.
type poster struct {
	net.Conn
	name string // prefix of its keys; "" for none
	n    int    // requests so far
}

func (p *poster) Write(body []byte) (int, error) {
	head := fmt.Sprintf("POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n", len(body))
	if p.n++; p.name != "" {
		head += fmt.Sprintf("Idempotency-Key: %s.%d\r\n", p.name, p.n)
	}
	bufs := net.Buffers{[]byte(head + "\r\n"), body}
	_, err := bufs.WriteTo(p.Conn)
	return len(body), err
}

// answer reads the answer to a request, which settles everything that was sent.
func (l *load) answer() error {
	r, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Status, err)
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s", r.Status, text)
	}
	l.acked = l.sent
	return nil
}
