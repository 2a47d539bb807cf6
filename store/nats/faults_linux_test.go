package nats_test

import (
	"syscall"
	"testing"

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
