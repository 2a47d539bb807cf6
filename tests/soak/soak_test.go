// Package soak_test lets senders of all dialects and readers work for a while with a real
// server that is killed, restarted, stopped and cut off from them, and looks whether
// each record that was settled is read once.
package soak_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/tests/peer"
)

var duration = flag.Duration("soak.duration", 5*time.Second, "how long it lasts")

// patience is how long it may take from the last fault on until all is settled and read.
const patience = time.Minute

// A sender sends numbered records into a topic of its own, until ctx is done, and then
// waits until they are settled.
type sender struct {
	topic string
	promise
	run func(ctx context.Context, addr string) error
	// state returns up to which number records are settled, and were sent.
	state func() (settled, sent uint64)
}

// A promise is what a reader may expect of a sender's records.
type promise uint8

const (
	onceAll  promise = iota // each once, in order
	onceSome                // none twice: what was under way may be lost, or come after what was sent later over another connection
)

func TestSoak(t *testing.T) {
	bin := peer.Build(t)
	flags := []string{"--store", t.TempDir(), "--max-memory", "64MiB", "--keep-bytes", "1GiB"}
	n := newNetwork(t)
	s := peer.Serve(t, bin, flags...)
	n.to(s.Addr)

	senders := senders()
	ctx, stop := context.WithCancel(t.Context())
	var sending, reading sync.WaitGroup
	for _, x := range senders {
		sending.Go(func() {
			if err := x.run(ctx, n.addr()); err != nil {
				t.Errorf("%s: %v", x.topic, err)
			}
		})
	}
	all, done := context.WithCancel(t.Context())
	readers := []*reader{newReader("native", senders), newReader("sse", senders)}
	for _, r := range readers {
		reading.Go(func() { r.run(all, n.addr()) })
	}

	var grown samples
	faults := map[string]int{}
	for end := time.Now().Add(*duration); time.Now().Before(end) && !t.Failed(); {
		calm := time.Duration(500+rand.IntN(1500)) * time.Millisecond
		if *duration > time.Minute {
			calm *= 5
		}
		time.Sleep(calm)
		grown.take(t, s, len(senders)+len(readers))
		fault := []string{"kill", "restart", "stall", "cut"}[rand.IntN(4)]
		faults[fault]++
		switch fault {
		case "kill":
			s.Kill(t)
			s = peer.Serve(t, bin, flags...)
			n.to(s.Addr)
		case "restart":
			s.Stop(t)
			s = peer.Serve(t, bin, flags...)
			n.to(s.Addr)
		case "stall":
			signal(t, s, syscall.SIGSTOP)
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
			signal(t, s, syscall.SIGCONT)
		case "cut":
			n.cut()
		}
	}
	stop()
	late := time.AfterFunc(patience, func() { t.Errorf("%v after the last fault: %s", patience, behind(senders, readers)) })
	sending.Wait()
	for behind(senders, readers) != "" && !t.Failed() {
		time.Sleep(10 * time.Millisecond)
	}
	late.Stop()
	done()
	n.cut()
	reading.Wait()
	s.Stop(t)

	var settled uint64
	for _, x := range senders {
		n, sent := x.state()
		settled += n
		t.Logf("%-10s %9d records of %d settled", x.topic, n, sent)
	}
	t.Logf("%d records settled, faults: %v", settled, faults)
	for _, r := range readers {
		for _, fault := range r.faults {
			t.Errorf("%s: %s", r.name, fault)
		}
		t.Logf("%-10s read %d, lost %d, doubled %d, connected %d times", r.name, r.count, r.lost, r.doubled, r.connected)
	}
	grown.verify(t)
}

func signal(t *testing.T, s *peer.Server, what syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(s.Pid(), what); err != nil {
		t.Error(err)
	}
}

// behind says which readers have not got all that is settled.
func behind(senders []*sender, readers []*reader) string {
	var b strings.Builder
	for _, r := range readers {
		for _, x := range senders {
			settled, _ := x.state()
			if last := r.lastOf(x.topic); last < settled {
				fmt.Fprintf(&b, "%s: %s has %d of %d; ", r.name, x.topic, last, settled)
			}
		}
	}
	return b.String()
}

// A network is between the peers and the server, wherever that listens.
type network struct {
	listener net.Listener
	mu       sync.Mutex
	server   string
	open     []net.Conn
	running  sync.WaitGroup
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{listener: l}
	n.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.running.Go(func() { n.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		n.cut()
		n.running.Wait()
	})
	return n
}

func (n *network) addr() string { return n.listener.Addr().String() }

func (n *network) to(server string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = server
}

// cut breaks all connections.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.open {
		if tcp, ok := c.(*net.TCPConn); ok && rand.IntN(2) == 0 {
			_ = tcp.SetLinger(0) // what is under way is lost
		}
		_ = c.Close()
	}
	n.open = nil
}

// carry carries bytes both ways until one end closes.
func (n *network) carry(c net.Conn) {
	defer c.Close()
	n.mu.Lock()
	server := n.server
	n.mu.Unlock()
	s, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer s.Close()
	n.mu.Lock()
	n.open = append(n.open, c, s)
	n.mu.Unlock()
	back := make(chan struct{})
	go func() {
		defer close(back)
		copyUntilClosed(c, s)
	}()
	copyUntilClosed(s, c)
	<-back
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = slices.DeleteFunc(n.open, func(o net.Conn) bool { return o == c || o == s })
}

// copyUntilClosed passes on the end of what comes, and closes both where one breaks.
func copyUntilClosed(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if _, werr := to.Write(b[:n]); werr != nil {
			err = werr
		}
		var eof bool
		if eof = err != nil && err.Error() == "EOF"; eof {
			if tcp, ok := to.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
				return
			}
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// samples are what the server's processes held, one after another.
type samples struct{ memory, files []int }

func (s *samples) take(t *testing.T, server *peer.Server, peers int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(text, &kib); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	s.memory, s.files = append(s.memory, kib>>10), append(s.files, len(open)-peers)
}

// verify compares the last third with the first.
func (s *samples) verify(t *testing.T) {
	t.Helper()
	third := len(s.memory) / 3
	if third == 0 {
		return
	}
	for name, all := range map[string][]int{"MiB": s.memory, "open files": s.files} {
		first, last := slices.Max(all[:third]), slices.Max(all[len(all)-third:])
		t.Logf("%s: at most %d in the first third, %d in the last", name, first, last)
		if last > first*3/2+32 {
			t.Errorf("%s grow from %d to %d", name, first, last)
		}
	}
}

// errBroken is why a connection is made anew.
var errBroken = errors.New("the connection broke")
