package dictwire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/wire"
)

// A scripted is a server that a test plays line by line.
type scripted struct {
	t     *testing.T
	conns chan net.Conn
}

// scriptedTest runs a test in a bubble of synctest.
func scriptedTest(t *testing.T, f func(t *testing.T, srv *scripted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, &scripted{t: t, conns: make(chan net.Conn, 16)}) })
}

// dial returns a client of the server.
func (srv *scripted) dial(d dictwire.Dialer) *dictwire.Client {
	srv.t.Helper()
	d.DialContext = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		srv.conns <- server
		return client, nil
	}
	if d.Codec == nil {
		d.Codec = json.Codec{}
	}
	if d.Spool == nil && d.OnState == nil {
		go func() { // it sends the greeting first
			p := srv.accept()
			p.greeting()
			m := wire.Welcome{Next: 1, Durability: "fsync", MaxRecord: 1 << 20, Window: wire.Window, Features: []string{}}
			_, _ = p.conn.Write(m.Append(nil))
			_ = p.conn.Close()
		}()
	}
	c, err := d.Dial(srv.t.Context(), "")
	if err != nil {
		srv.t.Fatal(err)
	}
	return c
}

// accept returns the next connection.
func (srv *scripted) accept() *peer {
	conn := <-srv.conns
	return &peer{t: srv.t, conn: conn, in: bufio.NewReader(conn)}
}

// silent fails the test if there is another connection.
func (srv *scripted) silent() {
	srv.t.Helper()
	synctest.Wait()
	select {
	case <-srv.conns:
		srv.t.Error("a connection too many")
	default:
	}
}

// A peer is the server's side of a connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// greeting reads the greeting.
func (p *peer) greeting() wire.Greeting {
	p.t.Helper()
	line, err := p.in.ReadBytes('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	g, err := wire.ParseGreeting(line[:len(line)-1])
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	return g
}

// welcome reads the greeting, and answers with the next number.
func (p *peer) welcome(next int, sum ...string) wire.Greeting {
	p.t.Helper()
	g := p.greeting()
	m := wire.Welcome{Next: uint64(next), Durability: "fsync", MaxRecord: 1 << 20, Window: wire.Window, Features: []string{}}
	if len(sum) > 0 {
		m.Sum = sum[0]
	}
	p.raw(string(m.Append(nil)))
	p.ack(next - 1)
	return g
}

// say writes lines.
func (p *peer) say(lines ...string) {
	p.t.Helper()
	for _, line := range lines {
		p.raw(line + "\n")
	}
}

// raw writes bytes, and waits until the client has processed them.
func (p *peer) raw(bytes string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, bytes); err != nil {
		p.t.Fatalf("%s: %v", bytes, err)
	}
	synctest.Wait()
}

// ack acknowledges.
func (p *peer) ack(n int) {
	p.t.Helper()
	p.say(fmt.Sprintf(`{"ack":%d}`, n))
}

// want expects records, as lines.
func (p *peer) want(records ...string) {
	p.t.Helper()
	for _, want := range records {
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Minute))
		line, err := p.in.ReadString('\n')
		if got := strings.TrimSuffix(line, "\n"); got != want || err != nil {
			p.t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
}

// ended expects the end of the connection, with nothing before it.
func (p *peer) ended() {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(time.Hour))
	if rest, err := io.ReadAll(p.in); err != nil || len(rest) > 0 {
		p.t.Errorf("%q, %v, want the end", rest, err)
	}
	_ = p.conn.Close()
}

// takes settles record 1 on the next connection, which starts with it.
func (srv *scripted) takes() *peer {
	srv.t.Helper()
	p := srv.accept()
	p.welcome(1)
	p.want(line(1))
	p.ack(1)
	return p
}

// A result is what Send returns.
type result struct {
	reply string
	err   error
}

// ok fails the test if a Send has failed.
func ok(t *testing.T, done <-chan result) {
	t.Helper()
	if r := <-done; r.err != nil {
		t.Error(r.err)
	}
}

// send sends in the background.
func send(c *dictwire.Client, topic string, v any) <-chan result {
	done := make(chan result, 1)
	go func() {
		reply, err := c.Send(context.Background(), topic, v)
		r := result{err: err}
		if reply != nil {
			r.reply = reply.String()
		}
		done <- r
	}()
	synctest.Wait()
	return done
}
