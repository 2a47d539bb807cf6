// Package dialecttest is what every dialect must pass that takes records from a
// connection's bytes: however they come and wherever they end, what was whole is stored
// once, and nothing else.
package dialecttest

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/devca"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store"
)

// A Conversation is what a client sends over one connection.
type Conversation struct {
	Dialects []dictwire.Dialect // beside those that every server speaks
	Send     string
	Ends     []int    // how many bytes of Send each record needs to be whole
	Records  []string // as Python writes them
	Topic    string   // "" means default
}

// Run tests that a conversation is taken in whatever happens to it.
func Run(t *testing.T, c Conversation) {
	if c.Topic == "" {
		c.Topic = "default"
	}
	t.Run("cut at every byte", func(t *testing.T) {
		for _, n := range c.cuts() {
			synctest.Test(t, func(t *testing.T) { c.check(t, n, c.Send[:n]) })
		}
	})
	t.Run("byte by byte", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { c.check(t, len(c.Send), strings.Split(c.Send, "")...) })
	})
	t.Run("garbage after it", func(t *testing.T) {
		for _, garbage := range []string{"\xc1\xff\x00", "\xff\xff\xff\xff", "oops\n", strings.Repeat("\x00", 64)} {
			synctest.Test(t, func(t *testing.T) { c.check(t, len(c.Send), c.Send+garbage) })
		}
	})
	t.Run("silence within it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { c.stall(t) })
	})
	t.Run("TLS", func(t *testing.T) {
		config, err := selfSigned()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			p := servertest.InMemory(t, c.server(), config)
			secure := tls.Client(p.Dial(), &tls.Config{InsecureSkipVerify: true})
			_, _ = io.WriteString(secure, c.Send)
			_ = secure.CloseWrite()
			_, _ = io.ReadAll(secure)
			_ = secure.Close()
			c.compare(t, p, len(c.Send))
		})
	})
}

// cuts returns where the conversation is cut: everywhere, if it is short, else at as many
// places, and around each record's end.
func (c *Conversation) cuts() (all []int) {
	const short = 50
	step := 1 + len(c.Send)/short
	for n := 0; n <= len(c.Send); n += step {
		all = append(all, n)
	}
	for _, end := range c.Ends {
		all = append(all, end-1, end)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *Conversation) server() *dictwire.Server { return &dictwire.Server{Dialects: c.Dialects} }

// check sends parts, of which the first n bytes are the conversation's.
func (c *Conversation) check(t *testing.T, n int, parts ...string) {
	t.Helper()
	p := servertest.InMemory(t, c.server(), nil)
	p.Say(parts...)
	c.compare(t, p, n)
}

// compare compares what is stored with what n bytes of the conversation hold.
func (c *Conversation) compare(t *testing.T, p *servertest.Peer, n int) {
	t.Helper()
	whole := 0
	for whole < len(c.Ends) && c.Ends[whole] <= n {
		whole++
	}
	if got := p.Stored(c.Topic); !slices.Equal(got, c.Records[:whole]) {
		t.Errorf("after %d bytes: stored %q, want %q", n, got, c.Records[:whole])
	}
	if n < len(c.Send) && len(p.Stored(store.Rejected)) > 1 {
		t.Errorf("after %d bytes: rejected %q", n, p.Stored(store.Rejected))
	}
}

// stall sends all but the last byte of the first record, and keeps the connection open.
func (c *Conversation) stall(t *testing.T) {
	p := servertest.InMemory(t, c.server(), nil)
	conn := p.Dial()
	defer conn.Close()
	began := time.Now()
	_, _ = io.WriteString(conn, c.Send[:c.Ends[0]-1])
	_, _ = io.ReadAll(conn)
	if waited := time.Since(began); waited > 2*time.Minute {
		t.Errorf("it was closed after %v", waited)
	}
	c.compare(t, p, c.Ends[0]-1)
}

// selfSigned returns a server's config, always the same.
var selfSigned = sync.OnceValues(func() (*tls.Config, error) {
	dir, err := os.MkdirTemp("", "dialecttest")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca, _, err := devca.Open(file("ca.pem"), file("ca.key"))
	if err != nil {
		return nil, err
	}
	if err := ca.Issue(devca.Request{Names: []string{"server"}}, file("cert.pem"), file("key.pem")); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(file("cert.pem"), file("key.pem"))
	return &tls.Config{Certificates: []tls.Certificate{pair}}, err
})

// Fuzz is the body of a fuzz target: whatever comes, in one piece or in two, the server
// goes on, ends the connection, and stores the same.
func Fuzz(t *testing.T, dialects []dictwire.Dialect, b []byte, cut int) {
	said := make([]string, 2)
	for i, parts := range [][]string{{string(b)}, {string(b[:cut]), string(b[cut:])}} {
		p := servertest.InMemory(t, &dictwire.Server{Dialects: dialects}, nil)
		p.Say(parts...)
		said[i] = fmt.Sprint(p.Stored("*"))
		if after := fmt.Sprint(p.Say(`{"dictwire":1,"topic":"after"}`+"\n{}\n"), p.Stored("after")); !strings.Contains(after, "[{}]") {
			t.Errorf("%q: the next session is told %s", b, after)
		}
	}
	if said[0] != said[1] {
		t.Errorf("%q, cut at %d: stored %s, else %s", b, cut, said[1], said[0])
	}
}
