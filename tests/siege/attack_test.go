package siege_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dictwire/dictwire/tests/peer"
)

// A kind of attack is what one hostile connection does, over and over.
type kind struct {
	name string
	run  func(*hostile)
}

// pause is roughly how long a hostile peer waits before its next connection. It keeps the
// attack from merely exhausting the machine's network.
const pause = time.Second

// An attack runs hostile peers, equally many of each kind.
type attack struct {
	addr    string
	peers   []*hostile
	figures []*figures
}

// figures count what the peers of one kind did.
type figures struct {
	name                          string
	peers                         int
	connections, failed, out, got atomic.Int64

	mu    sync.Mutex
	codes map[string]int // codes of the faults that they got; guarded by mu
}

func (f *figures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	codes := slices.SortedFunc(maps.Keys(f.codes), func(a, b string) int { return cmp.Or(f.codes[b]-f.codes[a], cmp.Compare(a, b)) })
	var told strings.Builder
	for _, c := range codes {
		fmt.Fprintf(&told, " %s %d", c, f.codes[c])
	}
	return fmt.Sprintf("%-16s %4d peers, %6d connections, %4d failed, %8.2f MB sent, %8.2f MB received; told%s", f.name, f.peers, f.connections.Load(), f.failed.Load(), float64(f.out.Load())/1e6, float64(f.got.Load())/1e6, &told)
}

func newAttack(kinds []kind, addr string) *attack {
	a := &attack{addr: addr}
	for _, k := range kinds {
		a.figures = append(a.figures, &figures{name: k.name, codes: map[string]int{}})
	}
	for i := range *connections {
		k := i % len(kinds)
		a.figures[k].peers++
		a.peers = append(a.peers, &hostile{id: i, addr: addr, kind: kinds[k], figures: a.figures[k], Rand: rand.New(rand.NewPCG(7, uint64(i)))})
	}
	return a
}

// start runs all peers until the context is done. wait waits until they have ended.
func (a *attack) start(ctx context.Context) (wait func()) {
	var running sync.WaitGroup
	for _, h := range a.peers {
		h.ctx = ctx
		running.Go(func() {
			h.wait(time.Duration(h.Int64N(int64(pause)))) // not all at once
			for ctx.Err() == nil {
				h.kind.run(h)
				h.wait(pause/2 + time.Duration(h.Int64N(int64(pause))))
			}
		})
	}
	return running.Wait
}

// A hostile is a hostile peer.
type hostile struct {
	*rand.Rand
	id   int
	addr string
	kind kind
	ctx  context.Context //nolint:containedctx // the lifetime of the peer
	*figures
	runs int
}

// wait waits for d, or until the peer has to end.
func (h *hostile) wait(d time.Duration) {
	select {
	case <-h.ctx.Done():
	case <-time.After(d):
	}
}

// name returns a unique name.
func (h *hostile) name() string {
	h.runs++
	return fmt.Sprintf("h%d-%d", h.id, h.runs)
}

// dial connects, from one of 16 addresses.
func (h *hostile) dial() *conn {
	c := &conn{h: h, ended: make(chan struct{})}
	if h.ctx.Err() != nil {
		close(c.ended)
		return c
	}
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(h.id%16))}}
	nc, err := d.DialContext(h.ctx, "tcp", h.addr)
	h.connections.Add(1)
	if err != nil {
		h.failed.Add(1)
		close(c.ended)
		return c
	}
	c.nc = nc.(*net.TCPConn)
	c.stream = c.nc
	if *secure {
		c.stream = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	c.release = context.AfterFunc(h.ctx, func() { c.nc.Close() })
	return c
}

// A stream is a connection, or TLS over it.
type stream interface {
	net.Conn
	CloseWrite() error
}

// A conn is a connection of a hostile peer. After it failed or has ended, its methods do
// nothing.
type conn struct {
	h       *hostile
	nc      *net.TCPConn
	stream  stream // over it
	release func() bool
	ended   chan struct{} // closed when there is nothing more to read
	reading bool
}

// open connects and reads, in the background, whatever arrives.
func (h *hostile) open() *conn {
	c := h.dial()
	if c.nc == nil {
		return c
	}
	c.reading = true
	go func() {
		defer close(c.ended)
		var last []byte // the end of what arrived
		b := make([]byte, 4096)
		for {
			n, err := c.stream.Read(b)
			h.got.Add(int64(n))
			last = append(last, b[:n]...)
			last = last[max(0, len(last)-1024):]
			if err != nil {
				break
			}
		}
		if _, after, ok := bytes.Cut(last[bytes.LastIndex(last, []byte("\n{"))+1:], []byte(`"code":"`)); ok {
			code, _, _ := bytes.Cut(after, []byte{'"'})
			h.mu.Lock()
			h.codes[string(code)]++
			h.mu.Unlock()
		}
	}()
	return c
}

// say sends bytes, and reports whether that took less than 10 s.
func (c *conn) say(b ...[]byte) bool {
	if c.nc == nil {
		return false
	}
	for _, b := range b {
		c.stream.SetWriteDeadline(time.Now().Add(10 * time.Second))
		n, err := c.stream.Write(b)
		c.h.out.Add(int64(n))
		if err != nil {
			return false
		}
	}
	return true
}

// slowly sends bytes in small steps.
func (c *conn) slowly(b []byte, step int, every time.Duration) {
	for part := range slices.Chunk(b, step) {
		if !c.say(part) || !c.lasts(every) {
			return
		}
	}
}

// lasts waits, and reports whether the connection is still open.
func (c *conn) lasts(d time.Duration) bool {
	select {
	case <-c.h.ctx.Done():
		return false
	case <-c.ended:
		return false
	case <-time.After(d):
		return true
	}
}

// half closes the connection for writing.
func (c *conn) half() {
	if c.nc != nil {
		c.stream.CloseWrite()
	}
}

// close closes the connection.
func (c *conn) close() {
	if c.nc == nil {
		return
	}
	c.release()
	c.nc.Close()
	if c.reading {
		<-c.ended
	}
}

// reset resets the connection, as a crash does.
func (c *conn) reset() {
	if c.nc != nil {
		c.nc.SetLinger(0)
	}
	c.close()
}

// tell connects, sends bytes, and waits until the connection ends, for d at most.
func (h *hostile) tell(d time.Duration, b ...[]byte) {
	c := h.open()
	defer c.close()
	if c.say(b...) {
		c.half()
		c.lasts(d)
	}
}

// greetFirst sends a greeting, and more after giving the server time to answer.
func (h *hostile) greetFirst(greeting, more []byte) {
	c := h.open()
	defer c.close()
	if c.say(greeting) && c.lasts(100*time.Millisecond) && c.say(more) {
		c.half()
		c.lasts(time.Second)
	}
}

// prepare stores the records that hostile readers ask for: they are large in other formats.
func prepare(t *testing.T, addr string) {
	t.Helper()
	s, err := peer.Greet(addr, `{"dictwire":1,"topic":"large"}`)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 4 {
		fmt.Fprintf(s, `{"a":[%s0]}`, strings.Repeat("0,", 400_000))
		fmt.Fprintf(s, `{"a":"%s"}`, strings.Repeat("x", 900_000))
	}
	s.Conn.(stream).CloseWrite()
	if b, err := io.ReadAll(s.R); err != nil || !bytes.HasSuffix(b, []byte("{\"ack\":8}\n")) {
		t.Fatalf("storing large records: %v, %s", err, b)
	}
}

// line returns a message as a line.
func line(m map[string]any) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	// The member that makes it a native session must come first.
	return append(append([]byte(`{"dictwire":1,`), b[1:]...), '\n')
}

// greeting returns a greeting that writes to a topic in a format.
func greeting(topic, format string) []byte {
	return line(map[string]any{"topic": topic, "format": format})
}
