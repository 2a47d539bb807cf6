package nats_test

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
)

// TestFullDisk fills the node's disk: appends are unavailable. Once the disk has room and
// the node was restarted, everything works again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Logf("NOT RUN: no file system can be mounted here: %v", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	nodes := brokertest.ClusterIn(t, dir, 1, "")
	b := &broker{urls: brokertest.URLs(nodes), replicas: 1, options: map[store.Store]*nats.Options{}}
	full(t, b, b.fresh(), func() {
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=256m"); err != nil {
			t.Fatal(err)
		}
		nodes[0].Stop()
		nodes[0].Start()
	})
}

// TestQuorum stops two of three nodes. The store is not ready, and appends and claims are
// unavailable after 5 s. Once the nodes are back, everything works again by itself.
func TestQuorum(t *testing.T) {
	if testing.Short() {
		return // the stage cluster runs it
	}
	t.Parallel()
	nodes := brokertest.Cluster(t, 3, "")
	b := &broker{urls: brokertest.URLs(nodes), replicas: 3, options: map[store.Store]*nats.Options{}}
	s, ctx := b.open(t, b.fresh()), t.Context()
	a, other := cast(2)[0], cast(2)[1]
	all(t, []*author{a, other}, func(a *author) error { return a.write(ctx, []store.Store{s}, 20, 0) })
	c, err := s.Claim(ctx, a.p, store.ClaimRequest{Acked: a.acked})
	if err != nil {
		t.Fatal(err)
	}
	const patience = 5 * time.Second
	for _, n := range nodes[:2] {
		n.Signal(syscall.SIGSTOP)
	}
	time.Sleep(200 * time.Millisecond) // until all their threads have stopped
	var asking sync.WaitGroup
	for what, ask := range map[string]func() error{
		"Append": func() error { return s.Append(ctx, a.blocks(c.Epoch, c.Next, c.Next+1)...)[0].Err },
		"Claim":  func() error { _, err := s.Claim(ctx, other.p, store.ClaimRequest{Acked: other.acked}); return err },
		"Ready":  func() error { return s.Ready(ctx) },
	} {
		asking.Go(func() {
			begin := time.Now()
			if err := ask(); !errors.Is(err, store.ErrUnavailable) || time.Since(begin) > patience+2*time.Second {
				t.Errorf("%s without a majority: %v after %v", what, err, time.Since(begin))
			}
		})
	}
	asking.Wait()
	for _, n := range nodes[:2] {
		n.Signal(syscall.SIGCONT)
	}
	for begin := time.Now(); s.Ready(ctx) != nil || s.(*nats.Store).CatchUp(ctx) != nil; {
		if time.Since(begin) > recovers {
			t.Fatalf("it is not ready within %v", recovers)
		}
	}
	all(t, []*author{a, other}, func(a *author) error { return a.write(ctx, []store.Store{s}, 40, 0) })
	check(t, s, a, other)
}
