// Package siege_test drives a real server with hostile connections of all kinds
// beside honest ones, and looks whether the honest ones notice.
package siege_test

import (
	"context"
	"flag"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/tests/peer"
)

var (
	duration    = flag.Duration("siege.duration", 2*time.Second, "how long the siege lasts")
	connections = flag.Int("siege.conns", 2*len(kinds), "how many hostile connections there are")
	slower      = flag.Int("siege.slower", 0, "how many times longer than beside the stub 99 of 100 acks may take, at most; 0 for no bound")
	only        = flag.String("siege.only", "", "the kinds of attack, separated by commas; all of them where it is empty")
)

const (
	// maxMemory is the server's budget, and allowance what it may take beyond it:
	// the program itself, the store's caches, and what 2,000 connections hold that
	// is no record: buffers, goroutines, names and what the garbage collector has
	// not yet taken back.
	maxMemory = 64 << 20
	allowance = 192 << 20

	// share is the part of the capacity that the honest use.
	share = 0.4

	// patience is how long the server may take for what was left behind.
	patience = time.Minute
)

// TestSiege measures what honest producers and readers reach, lets them do a part
// of that beside connections to a stub that closes them, and then beside the same
// connections to the server itself.
func TestSiege(t *testing.T) {
	kinds := chosen(t)
	raiseFiles(t, 3**connections+500)
	s := peer.Serve(t, peer.Build(t), "--store", t.TempDir(), "--max-memory", "64MiB", "--max-conns", "1500")
	watch := observe(t, s)

	l := newLoad(t, s.Addr)
	prepare(t, s.Addr)
	capacity := l.measure(t, max(time.Second, *duration/20))
	t.Logf("capacity: %d producers and %d readers settle and read %.0f records a second; %.0f %% of it follows", len(l.producers), len(l.readers), capacity, 100*share)

	// Half of it before, half after: the machine may have other work, now and then.
	stub := newStub(t)
	harmless := func() []time.Duration {
		return l.beside(t, newAttack(kinds, stub.Addr().String()), capacity*share, max(time.Second, *duration/6))
	}
	beside := harmless()

	a := newAttack(kinds, s.Addr)
	watch.begin()
	siege := summarize(l.beside(t, a, capacity*share, *duration))
	t.Logf("under siege:   %v, the server used %.2f processors", siege, watch.processors())
	for _, f := range a.figures {
		t.Logf("  %v", f)
	}

	watch.rest(t)
	stubbed := summarize(append(beside, harmless()...))
	t.Logf("beside a stub: %v", stubbed)

	l.finish(t)
	t.Logf("%v", l)
	l.verifyRejected(t)
	if peak := watch.peak(t); peak > maxMemory+allowance {
		t.Errorf("the server took %d MiB, and may take %d", peak>>20, (maxMemory+allowance)>>20)
	} else {
		t.Logf("memory: %d MiB at most, of a budget of %d MiB and %d MiB beside it", peak>>20, maxMemory>>20, allowance>>20)
	}
	if ratio := float64(siege.p99) / float64(stubbed.p99); *slower > 0 && ratio > float64(*slower) {
		t.Errorf("99 of 100 acks come within %v, and beside the stub within %v: %.1f times as long, and not %d", siege.p99, stubbed.p99, ratio, *slower)
	}
	s.Stop(t)
	if t.Failed() {
		t.Logf("the server said\n%s", tail(s.Log(), 40))
	}
}

// chosen returns the kinds of attack that the flags name.
func chosen(t *testing.T) []kind {
	if *only == "" {
		return kinds
	}
	var chosen []kind
	for name := range strings.SplitSeq(*only, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			t.Fatalf("there is no attack %q", name)
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen
}

// raiseFiles raises the limit of open files, for this process and the server.
func raiseFiles(t *testing.T, n int) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Max < uint64(n) {
		t.Fatalf("%d files may be open, and %d are needed: raise the limit (ulimit -Hn)", l.Max, n)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
}

// newStub starts a server that accepts connections and closes them.
func newStub(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l
}

// beside keeps the load at a rate for some time, while an attack runs.
func (l *load) beside(t *testing.T, a *attack, rate float64, d time.Duration) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	wait := a.start(ctx)
	got := l.paced(t, rate, d)
	wait()
	return got
}

// tail returns the last lines of a text.
func tail(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
