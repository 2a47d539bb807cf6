// Package soak_test runs senders of all dialects and readers against a real server that is
// killed, restarted, paused and cut off from them, and checks that each settled record is
// read once.
package soak_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/tests/peer"
)

var duration = flag.Duration("soak.duration", 5*time.Second, "how long it lasts")

// patience is how long after the last fault everything may take to be settled and read.
const patience = time.Minute

// A sender sends numbered records to a topic of its own until ctx is done, and then waits
// until they are settled.
type sender struct {
	topic string
	promise
	run func(ctx context.Context, addr string) error
	// state returns up to which number records were settled and sent.
	state func() (settled, sent uint64)
}

// A promise is what a reader may expect of a sender's records.
type promise uint8

const (
	onceAll  promise = iota // each one once, in order
	onceSome                // none twice; at a fault, records in flight may be lost, or arrive after later ones from another connection
)

func TestSoak(t *testing.T) {
	bin := peer.Build(t)
	flags := []string{"--store", t.TempDir(), "--max-memory", "64MiB", "--keep-bytes", "1GiB"}
	s := peer.Serve(t, bin, flags...)
	n := servertest.NewProxy(t, s.Addr)

	senders := senders()
	ctx, stop := context.WithCancel(t.Context())
	var sending, reading sync.WaitGroup
	for _, x := range senders {
		sending.Go(func() {
			if err := x.run(ctx, n.Addr); err != nil {
				t.Errorf("%s: %v", x.topic, err)
			}
		})
	}
	all, done := context.WithCancel(t.Context())
	readers := []*reader{newReader("native", senders), newReader("sse", senders)}
	for _, r := range readers {
		reading.Go(func() { r.run(all, n.Addr) })
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
			n.To(s.Addr)
		case "restart":
			s.Stop(t)
			s = peer.Serve(t, bin, flags...)
			n.To(s.Addr)
		case "stall":
			signal(t, s, syscall.SIGSTOP)
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
			signal(t, s, syscall.SIGCONT)
		case "cut":
			n.Cut()
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
	n.Cut()
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

// behind lists the readers that have not read everything that is settled.
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

// samples are successive measurements of the server's processes.
type samples struct{ memory, files []int }

func (s *samples) take(t *testing.T, server *peer.Server, peers int) {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	s.memory, s.files = append(s.memory, int(server.Memory(t, "VmRSS")>>20)), append(s.files, len(open)-peers)
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

// errBroken means that the sender or reader must reconnect.
var errBroken = errors.New("the connection broke")
