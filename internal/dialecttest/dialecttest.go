// Package dialecttest has the tests of every dialect that reads records from a connection's
// bytes: however these are split, and wherever they end, each complete record is stored once,
// and nothing else.
package dialecttest

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
	Dialects []dictwire.Dialect // in addition to those of every server
	Send     string
	Ends     []int    // how many bytes of Send each record needs to be whole
	Records  []string // as Python writes them
	Topic    string   // "" means default

	// Multiplexed says that records may be taken in another order than they were sent, and
	// that the client waits for answers before it half-closes, or sends what is wrong: in
	// HTTP/2, either ends the requests that are under way.
	Multiplexed bool

	// Silence is how long a client that says nothing more is waited for at most. Zero means
	// two minutes.
	Silence time.Duration

	// Acked returns how many records are acknowledged by what a client is told. Nil means
	// none.
	Acked func(told string) int

	idle int // goroutines of a server
}

// Run tests that a conversation is taken in whatever happens to it.
func Run(t *testing.T, c Conversation) {
	if c.Topic == "" {
		c.Topic = "default"
	}
	synctest.Test(t, func(t *testing.T) {
		c.serve(t, nil)
		c.idle = goroutines()
	})
	t.Run("cut at every byte", func(t *testing.T) {
		for _, n := range c.cuts() {
			synctest.Test(t, func(t *testing.T) { c.check(t, n, c.Send[:n]) })
		}
	})
	t.Run("broken off at every byte", func(t *testing.T) {
		for _, n := range c.cuts() {
			synctest.Test(t, func(t *testing.T) { c.breakOff(t, n) })
		}
	})
	t.Run("byte by byte", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { c.check(t, len(c.Send), strings.Split(c.Send, "")...) })
	})
	t.Run("garbage after it", func(t *testing.T) {
		for _, garbage := range []string{"\xc1\xff\x00", "\xff\xff\xff\xff", "oops\n", strings.Repeat("\x00", 64)} {
			parts := []string{c.Send + garbage}
			if c.Multiplexed {
				parts = []string{c.Send, garbage}
			}
			synctest.Test(t, func(t *testing.T) { c.check(t, len(c.Send), parts...) })
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
			p := c.serve(t, config)
			secure := tls.Client(p.Dial(), &tls.Config{InsecureSkipVerify: true})
			c.say(p, secure, c.Send)
			c.compare(t, p, len(c.Send))
		})
	})
}

// cuts returns where the conversation is cut: everywhere, if it is short, else at as many
// places, and around each record's end.
func (c *Conversation) cuts() (all []int) {
	const short = 1000
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

// A served is a server of the conversation.
type served struct {
	*servertest.Peer
	srv        *dictwire.Server
	goroutines int // before the conversation, among them those of the runtime
	told       string
}

func (c *Conversation) serve(t *testing.T, config *tls.Config) *served {
	srv := &dictwire.Server{Dialects: c.Dialects}
	p := &served{Peer: servertest.InMemory(t, srv, config), srv: srv}
	synctest.Wait()
	p.goroutines = runtime.NumGoroutine()
	return p
}

// goroutines returns how many goroutines there are in the bubbles of tests. Those of the
// runtime come and go as it likes.
func goroutines() int {
	stacks := make([]byte, 1<<20)
	return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte(", synctest bubble "))
}

// A halfCloser is a connection of either kind.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// say sends parts over a connection, half-closes, and keeps what is told.
func (c *Conversation) say(p *served, conn halfCloser, parts ...string) {
	for _, part := range parts {
		_, _ = io.WriteString(conn, part) // which may be refused before it is read
		if c.Multiplexed {
			synctest.Wait()
		}
	}
	_ = conn.CloseWrite()
	told, _ := io.ReadAll(conn)
	_ = conn.Close()
	p.told = string(told)
}

// check sends parts, whose first n bytes are those of the conversation.
func (c *Conversation) check(t *testing.T, n int, parts ...string) {
	t.Helper()
	p := c.serve(t, nil)
	c.say(p, p.Dial().(halfCloser), parts...)
	c.compare(t, p, n)
}

// compare compares what is stored with what n bytes of the conversation hold.
func (c *Conversation) compare(t *testing.T, p *served, n int) {
	t.Helper()
	want := c.Records[:c.whole(n)]
	if got := p.Stored(c.Topic); !slices.Equal(c.ordered(got), want) {
		t.Errorf("after %d bytes: stored %q, want %q", n, got, want)
	}
	if n < len(c.Send) && len(p.Stored(store.Rejected)) > 1 {
		t.Errorf("after %d bytes: rejected %q", n, p.Stored(store.Rejected))
	}
	if c.Acked != nil {
		if got := c.Acked(p.told); got != len(want) {
			t.Errorf("after %d bytes: %d records are acknowledged, want %d", n, got, len(want))
		}
	}
	c.rest(t, p, n)
}

// ordered returns records in the order in which they were sent, where they need not be
// stored in it.
func (c *Conversation) ordered(records []string) []string {
	if c.Multiplexed {
		slices.SortFunc(records, func(a, b string) int { return slices.Index(c.Records, a) - slices.Index(c.Records, b) })
	}
	return records
}

// whole returns how many records n bytes of the conversation hold.
func (c *Conversation) whole(n int) int {
	whole := 0
	for whole < len(c.Ends) && c.Ends[whole] <= n {
		whole++
	}
	return whole
}

// rest tests that nothing is left of a connection that has ended.
func (c *Conversation) rest(t *testing.T, p *served, n int) {
	t.Helper()
	synctest.Wait()
	if runtime.NumGoroutine() != p.goroutines {
		if got := goroutines(); got != c.idle {
			t.Errorf("after %d bytes: %d goroutines, %d before", n, got, c.idle)
		}
	}
	if got := p.srv.Stats(); got.Open != 0 || got.Receiving != 0 || got.Reading != 0 {
		t.Errorf("after %d bytes: held %+v", n, got)
	}
}

// breakOff sends n bytes, and closes the connection without a look at what is told. What
// was sent together is stored together, or not at all.
func (c *Conversation) breakOff(t *testing.T, n int) {
	t.Helper()
	p := c.serve(t, nil)
	conn := p.Dial()
	_, _ = io.WriteString(conn, c.Send[:n])
	_ = conn.Close()
	synctest.Wait()
	got, most := c.ordered(p.Stored(c.Topic)), c.whole(n)
	left := got
	for k := 0; k < most; {
		together := k + 1
		for together < most && c.Ends[together] == c.Ends[k] {
			together++
		}
		if all := c.Records[k:together]; len(left) >= len(all) && slices.Equal(left[:len(all)], all) {
			left = left[len(all):]
		} else if !c.Multiplexed {
			break
		}
		k = together
	}
	if len(left) > 0 {
		t.Errorf("after %d bytes: stored %q, want of %q what was sent together", n, got, c.Records[:most])
	}
	c.rest(t, p, n)
}

// stall sends all but the last byte of the first record, and keeps the connection open.
func (c *Conversation) stall(t *testing.T) {
	p := c.serve(t, nil)
	conn := p.Dial()
	began := time.Now()
	_, _ = io.WriteString(conn, c.Send[:c.Ends[0]-1])
	_, _ = io.ReadAll(conn)
	if waited := time.Since(began); waited > cmp.Or(c.Silence, 2*time.Minute) {
		t.Errorf("it was closed after %v", waited)
	}
	_ = conn.Close()
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

// Fuzz is the body of a fuzz target: the server must survive any bytes, in one piece or in
// two, end the connection, and store the same records.
func Fuzz(t *testing.T, dialects []dictwire.Dialect, b []byte, cut int) {
	said := make([]string, 2)
	for i, parts := range [][]string{{string(b)}, {string(b[:cut]), string(b[cut:])}} {
		p := servertest.InMemory(t, &dictwire.Server{Dialects: dialects}, nil)
		conn := p.Dial()
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute)) // a reader that follows stays
		new(Conversation).say(&served{Peer: p}, conn.(halfCloser), parts...)
		said[i] = fmt.Sprint(p.Stored("*"))
		if after := fmt.Sprint(p.Say(`{"dictwire":1,"topic":"after"}`+"\n{}\n"), p.Stored("after")); !strings.Contains(after, "[{}]") {
			t.Errorf("%q: the next session is told %s", b, after)
		}
	}
	if said[0] != said[1] {
		t.Errorf("%q, cut at %d: stored %s, else %s", b, cut, said[1], said[0])
	}
}
