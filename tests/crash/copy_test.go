package crash_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/store"
	storelog "github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/tests/peer"
)

// TestKillCopy kills store copy at random moments, from a disk to a broker and back to a
// disk. In between, serve refuses an incomplete copy. At the end all blocks are there once
// and in order, and so are producers and cursors.
func TestKillCopy(t *testing.T) {
	bin := peer.Build(t)
	urls := brokertest.URLs(brokertest.Cluster(t, 1, ""))
	dir := t.TempDir()
	places := []string{filepath.Join(dir, "a"), urls, filepath.Join(dir, "b"), filepath.Join(dir, "c")}
	fillStore(t, places[0])
	want := contents(t, places[0])
	half := 0
	for i, from := range places[:len(places)-1] {
		if copyOverKills(t, bin, from, places[i+1]) {
			half++
		}
	}
	if half == 0 && *rounds >= 10 { // fewer rounds may all have missed it
		t.Error("no kill came in the middle of a copy")
	}
	got := contents(t, places[len(places)-1])
	if want != got {
		t.Errorf("after three ways the store holds\n%s\nwant\n%s", got, want)
	}
}

// TestClusterCopy takes nodes away in the middle of store copy, on the way to three nodes
// and back: all of them for longer than a step waits, the leader's network, and the
// leadership again and again. The last way back goes over another broker, and begins while
// a server has the stream open. The command waits, says so, and continues by itself. At the
// end all blocks are there once and in order, and so are producers and cursors.
func TestClusterCopy(t *testing.T) {
	if testing.Short() {
		return // the stage cluster runs it
	}
	t.Parallel()
	if !brokertest.Networked(t) {
		return
	}
	bin := peer.Build(t)
	nodes := brokertest.ClusterIn(t, t.TempDir(), 3, "", brokertest.Hosts(t, 3)...)
	other := brokertest.Cluster(t, 1, "")[0].URL
	nc, err := nats.Connect(brokertest.URLs(nodes))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	dir := t.TempDir()
	begin := filepath.Join(dir, "a")
	fillStore(t, begin)
	want := contents(t, begin)
	const awhile = 7 * time.Second // longer than a step waits
	for i, fault := range []struct {
		what string
		do   func(prefix string)
		says string // by the command
	}{
		{"all nodes are away", func(string) {
			for _, n := range nodes {
				n.Signal(syscall.SIGSTOP)
			}
			time.Sleep(awhile)
			for _, n := range nodes {
				n.Signal(syscall.SIGCONT)
			}
		}, "the copy continues when the broker answers"},
		{"the leader is cut off", func(prefix string) {
			leader := cmp.Or(brokertest.Leader(nodes, prefix), nodes[0])
			if leader.Host == nil {
				leader.Kill()
				leader.Start()
				return
			}
			leader.Host.Unplug()
			time.Sleep(awhile)
			leader.Host.Plug()
		}, ""},
		{"another node leads", func(prefix string) {
			for range 5 {
				_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+prefix, nil, time.Second) // where there is a leader
				time.Sleep(100 * time.Millisecond)
			}
		}, ""},
	} {
		prefix, end := fmt.Sprint("dw", i), filepath.Join(dir, fmt.Sprint("b", i))
		said := copyOver(t, bin, begin, brokertest.URLs(nodes), prefix, func(func() string) {
			for asked := time.Now(); messages(nc, prefix) < 200; time.Sleep(5 * time.Millisecond) {
				if time.Since(asked) > time.Minute {
					t.Fatal("the copy does not begin")
				}
			}
			fault.do(prefix)
		})
		if !strings.Contains(said, fault.says) {
			t.Errorf("%s, and the command does not say %q", fault.what, fault.says)
		}
		from := brokertest.URLs(nodes)
		if i == 2 {
			said += overAnother(t, bin, from, other, prefix)
			from = other
		}
		said += copyOver(t, bin, from, end, prefix, func(func() string) {})
		t.Logf("%s\n%s", fault.what, said)
		if got := contents(t, end); got != want {
			t.Errorf("%s: the store holds\n%s\nwant\n%s", fault.what, got, want)
		}
	}
}

// overAnother copies a stream to another broker. A server has it open until the command
// says that it waits.
func overAnother(t *testing.T, bin, from, to, prefix string) string {
	t.Helper()
	s := peer.Serve(t, bin, "--store", from, "--nats-prefix", prefix)
	return copyOver(t, bin, from, to, prefix, func(said func() string) {
		for asked := time.Now(); !strings.Contains(said(), "waiting up to 20 s for the servers that have stream "+prefix); time.Sleep(5 * time.Millisecond) {
			if time.Since(asked) > 10*time.Second {
				t.Errorf("a server has the stream open, and the command says %q", said())
				break
			}
		}
		s.Stop(t)
	}, "--nats-replicas", "1")
}

// messages returns how many a stream holds, 0 where it is not there yet.
func messages(nc *nats.Conn, stream string) (n int) {
	m, err := nc.Request("$JS.API.STREAM.INFO."+stream, nil, time.Second)
	if err != nil {
		return 0
	}
	var info struct {
		State struct{ Messages int }
	}
	_ = json.Unmarshal(m.Data, &info)
	return info.State.Messages
}

// copyOver copies a store while something happens, which is given what the command has said
// so far. It returns all that the command says.
func copyOver(t *testing.T, bin, from, to, prefix string, meanwhile func(said func() string), flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"store", "copy", from, to, "--nats-prefix", prefix}, flags...)...)
	var out testlog.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	meanwhile(out.String)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("store copy: %v\n%s", err, &out)
	}
	return out.String()
}

// copyOverKills copies a store while store copy is killed repeatedly. It reports whether
// serve refused an incomplete copy.
func copyOverKills(t *testing.T, bin, from, to string) bool {
	t.Helper()
	flags := []string{"--nats-replicas", "1"}
	half, kills := false, 0
	const shortest, longest = 50 * time.Millisecond, 500 * time.Millisecond // opening takes some of it, and a whole copy less than a second
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, bin, append([]string{"store", "copy", from, to}, flags...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		var err error
		if kills < *rounds {
			select {
			case err = <-done:
			case <-time.After(shortest + rand.N(longest)): // the moment is random
				_ = cmd.Process.Kill()
				err = <-done
			}
		} else {
			err = <-done
		}
		cancel()
		var exit *exec.ExitError
		switch {
		case err == nil && !strings.Contains(out.String(), "all compared"), err != nil && !errors.As(err, &exit), err != nil && exit.ExitCode() >= 0:
			if err == nil && strings.Contains(out.String(), "complete copy already") {
				break
			}
			t.Fatalf("store copy: %v\n%s", err, &out)
		}
		if err == nil {
			t.Logf("%s to %s: %d kills: %s", filepath.Base(from), filepath.Base(to), kills, strings.TrimSpace(out.String()))
			return half
		}
		kills++
		half = half || refusesHalf(t, bin, to)
	}
}

// refusesHalf reports whether serve refuses an incomplete copy. If the store does not exist
// yet, or is complete, serve runs for a moment.
func refusesHalf(t *testing.T, bin, to string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "serve", "--store", to, "--nats-replicas", "1", "--listen", "127.0.0.1:0", "--print", "none")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, _ := cmd.CombinedOutput()
	is := bytes.Contains(out, []byte("a copy of another store that is not complete"))
	if is && !bytes.Contains(out, []byte("hint: run the same dictwire store copy again")) {
		t.Errorf("no hint: %s", out)
	}
	return is
}

// fillStore makes a store with many small blocks, producers and cursors.
func fillStore(t *testing.T, dir string) {
	t.Helper()
	s, err := storelog.Open(t.Context(), dir, &storelog.Options{Durability: store.OS, KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		p := store.Producer{Principal: "p", Topic: fmt.Sprintf("t%d", i%4), Name: fmt.Sprintf("n%d", i)}
		c, err := s.Claim(t.Context(), p, store.ClaimRequest{})
		if err != nil {
			t.Fatal(err)
		}
		next := c.Next
		var last store.Position
		for n := range 200 {
			b := &store.Block{Topic: p.Topic, Codec: "json", Principal: "p", Producer: p, Epoch: c.Epoch, First: next}
			for range 1 + rand.IntN(8) {
				b.Add(fmt.Appendf(nil, `{"n":%d,"text":%q}`, next, strings.Repeat("x", rand.IntN(500))))
				next++
			}
			b.Note = fmt.Appendf(nil, "%d", next)
			if n%50 == 49 {
				b.Topic = store.Rejected
				for i := range b.Lengths {
					b.Rejected = append(b.Rejected, store.Rejection{Number: b.First + uint64(i), Code: "invalid"})
				}
			}
			r := s.Append(t.Context(), b)[0]
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			last = r.Position
		}
		if err := s.Reset(t.Context(), store.CursorName{Principal: "p", Name: fmt.Sprintf("c%d", i), Subscription: p.Topic}, last); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents returns the contents of a store without its positions.
func contents(t *testing.T, dir string) string {
	t.Helper()
	s, err := storelog.Open(t.Context(), dir, &storelog.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := sha256.New()
	blocks := 0
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block != nil {
			h.Write(b.Block.AppendEncoded(nil, nil))
			blocks++
		}
	}
	producers := 0
	for p, err := range s.Saved(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		h.Write(fmt.Appendf(nil, "%v %d %d %d %s %v %v", p.Producer, p.Attempt, p.Next, p.GivenUp, p.Note, p.Seen, p.Expire))
		for r, err := range s.Rejections(t.Context(), p.Producer, 0) {
			h.Write(fmt.Append(nil, r, err))
		}
		producers++
	}
	cursors, err := s.Cursors(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cursors {
		left := 0
		for b, err := range s.Read(t.Context(), c.Position, store.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Block != nil {
				left += len(b.Block.Lengths)
			}
		}
		h.Write(fmt.Append(nil, c.CursorName, c.Saved, left))
	}
	return fmt.Sprintf("%d blocks, %d producers, %d cursors: %x", blocks, producers, len(cursors), h.Sum(nil))
}
