// Package siege_test attacks a real server with hostile connections of all kinds, and
// checks whether honest ones notice.
package siege_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/tests/peer"
)

var (
	duration    = flag.Duration("siege.duration", 2*time.Second, "how long the siege lasts")
	connections = flag.Int("siege.conns", 2*len(kinds), "how many hostile connections there are")
	slower      = flag.Int("siege.slower", 0, "how many times longer than beside the stub 99 of 100 acks may take, at most; 0 for no bound")
	only        = flag.String("siege.only", "", "the kinds of attack, separated by commas; all of them where it is empty")
	secure      = flag.Bool("siege.tls", false, "whether all speak TLS, the honest with a token and the hostile as a network that may send and read all")
)

const (
	// maxMemory is the server's budget, and allowance what it may use beyond it: the
	// program itself, the store's caches, and whatever 2,000 connections need besides
	// records, such as buffers, goroutines, names and uncollected garbage.
	maxMemory = 64 << 20
	allowance = 192 << 20

	// share is how much of the capacity the honest peers use.
	share = 0.4

	// patience is how long the server may take to clean up.
	patience = time.Minute
)

// TestSiege measures the capacity for honest producers and readers. It then runs them at a
// part of that next to attacks on a stub that closes all connections, and next to the same
// attacks on the server itself.
func TestSiege(t *testing.T) {
	if _, err := chosen(); err != nil {
		t.Fatal(err)
	}
	if err := raiseFiles(2**connections + 500); err != nil { // applies to the server, too
		t.Fatal(err)
	}
	bin := peer.Build(t)
	flags := []string{"--store", t.TempDir(), "--max-memory", "64MiB", "--max-conns", "1500"}
	if *secure {
		flags = append(flags, guard(t, bin)...)
	}
	s := peer.Serve(t, bin, flags...)
	watch := observe(t, s)

	l := newLoad(t, s.Addr)
	prepare(t, s.Addr)
	capacity := l.measure(t, max(time.Second, *duration/20))
	t.Logf("capacity: %d producers and %d readers settle and read %.0f records a second; %.0f %% of it follows", len(l.producers), len(l.readers), capacity, 100*share)

	// Half of it before and half after, since the machine may have other work at times.
	stub := servertest.Answer(t, func(net.Conn) {}) // accepts connections and closes them
	harmless := func() []time.Duration {
		took, _ := l.beside(t, stub, capacity*share, max(time.Second, *duration/6))
		return took
	}
	beside := harmless()

	watch.begin()
	took, figures := l.beside(t, s.Addr, capacity*share, *duration)
	siege := summarize(took)
	t.Logf("under siege:   %v, the server used %.2f processors\n%s", siege, watch.processors(), figures)

	watch.rest(t)
	stubbed := summarize(append(beside, harmless()...))
	t.Logf("beside a stub: %v", stubbed)

	l.finish(t)
	t.Logf("%v", l)
	l.verifyRejected(t)
	if peak := s.Memory(t, "VmHWM"); peak > maxMemory+allowance {
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

// chosen returns the kinds of attack that the flags select.
func chosen() ([]kind, error) {
	if *only == "" {
		return kinds, nil
	}
	var chosen []kind
	for name := range strings.SplitSeq(*only, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no attack %q", name)
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen, nil
}

// raiseFiles raises the limit of open files for this process and its children.
func raiseFiles(n int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Max < uint64(n) {
		return fmt.Errorf("%d files may be open, and %d are needed: raise the limit (ulimit -Hn)", l.Max, n)
	}
	l.Cur = l.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// beside runs the load at a rate for d, during an attack on an address. Real attackers have
// processors of their own, so these get the lowest priority and wait for the server and the
// honest peers. The attack is a process that has this priority from its first thread on,
// since Linux has a priority per thread.
func (l *load) beside(t *testing.T, addr string, rate float64, d time.Duration) (took []time.Duration, figures []byte) {
	t.Helper()
	attack := exec.CommandContext(t.Context(), "nice", append([]string{"-n", "39", os.Args[0]}, os.Args[1:]...)...)
	attack.Env = append(os.Environ(), attackEnv+"="+addr, durationEnv+"="+d.String())
	var out bytes.Buffer
	attack.Stdout, attack.Stderr = &out, &out
	if err := attack.Start(); err != nil {
		t.Fatal(err)
	}
	took = l.paced(t, rate, d)
	if err := attack.Wait(); err != nil {
		t.Fatalf("the attack: %v: %s", err, out.Bytes())
	}
	return took, out.Bytes()
}

// Variables that make this program the attacker, in a process of its own, so that attacks
// slow down the server rather than the honest peers' process.
const (
	attackEnv   = "DICTWIRE_TEST_ATTACK"          // the address
	durationEnv = "DICTWIRE_TEST_ATTACK_DURATION" // the duration
)

func TestMain(m *testing.M) {
	addr := os.Getenv(attackEnv)
	if addr == "" {
		os.Exit(m.Run())
	}
	if err := attackAlone(addr); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// attackAlone attacks, and prints the figures.
func attackAlone(addr string) error {
	flag.Parse()
	d, err := time.ParseDuration(os.Getenv(durationEnv))
	if err != nil {
		return err
	}
	kinds, err := chosen()
	if err != nil {
		return err
	}
	if err := raiseFiles(2**connections + 500); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	a := newAttack(kinds, addr)
	a.start(ctx)()
	for _, f := range a.figures {
		fmt.Printf("  %v\n", f)
	}
	return nil
}

// tail returns the last lines of a text.
func tail(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
