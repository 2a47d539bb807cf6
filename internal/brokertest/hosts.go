package brokertest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// networked is set for tests in a network namespace of their own.
const networked = "DICTWIRE_TEST_NETWORK"

// Networked runs the calling test again in a network namespace of its own, and returns
// false when that run has ended. Inside it, Networked returns true, and Hosts may be
// called. If the system does not allow namespaces, Networked returns true at once, and
// Hosts returns none.
func Networked(t *testing.T) bool {
	t.Helper()
	if os.Getenv(networked) != "" {
		return true
	}
	const enter = `mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && exec "$@"`
	begin := []string{"unshare", "--net", "--mount", "--map-root-user", "sh", "-c", enter, "sh"}
	if out, err := exec.Command(begin[0], append(begin[1:], "true")...).CombinedOutput(); err != nil {
		t.Logf("NOT RUN: faults of the network, which need namespaces: %v: %s", err, out)
		return true
	}
	args := append(begin, os.Args[0])
	flag.Visit(func(f *flag.Flag) {
		if f.Name != "test.run" && f.Name != "test.testlogfile" && f.Name != "test.paniconexit0" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	cmd := exec.CommandContext(t.Context(), args[0], append(args[1:], "-test.run=^"+t.Name()+"$")...)
	cmd.Env = append(os.Environ(), networked+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	dieWithUs(cmd)
	if err := cmd.Run(); err != nil {
		t.Errorf("in a network namespace: %v", err)
	}
	return false
}

// A Host is a machine in a test's network.
type Host struct {
	tb   testing.TB
	Addr string // an IP address
	name string
}

// Hosts makes a network of n hosts that this process can reach. It returns none if there
// are no namespaces.
func Hosts(tb testing.TB, n int) (hosts []*Host) {
	tb.Helper()
	if os.Getenv(networked) == "" {
		return nil
	}
	run(tb, "ip link add hub type bridge")
	run(tb, "ip addr add 10.99.0.1/24 dev hub")
	run(tb, "ip link set hub up")
	tb.Cleanup(func() { run(tb, "ip link del hub") })
	for i := range n {
		h := &Host{tb: tb, Addr: fmt.Sprintf("10.99.0.%d", 11+i), name: fmt.Sprint("h", i+1)}
		run(tb, "ip netns add "+h.name)
		tb.Cleanup(func() { run(tb, "ip netns del "+h.name) })
		// The namespace goes later than its name, and its end of the link with it: the next
		// test would find this end there.
		tb.Cleanup(func() { run(tb, "ip link del "+h.name) })
		run(tb, fmt.Sprintf("ip link add %s master hub up type veth peer name eth0 netns %s", h.name, h.name))
		run(tb, fmt.Sprintf("ip -n %s addr add %s/24 dev eth0", h.name, h.Addr))
		run(tb, fmt.Sprintf("ip -n %s link set eth0 up", h.name))
		run(tb, fmt.Sprintf("ip -n %s link set lo up", h.name))
		hosts = append(hosts, h)
	}
	return hosts
}

func run(tb testing.TB, command string) {
	tb.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		tb.Errorf("%s: %v: %s", command, err, out)
	}
}

// Unplug cuts the host off from all others. They get no errors, only silence.
func (h *Host) Unplug() { run(h.tb, "ip link set "+h.name+" down") }

// Plug is the inverse of Unplug.
func (h *Host) Plug() { run(h.tb, "ip link set "+h.name+" up") }

// Cut cuts two hosts off from each other.
func (h *Host) Cut(other *Host) {
	run(h.tb, fmt.Sprintf("ip -n %s route add blackhole %s", h.name, other.Addr))
	run(h.tb, fmt.Sprintf("ip -n %s route add blackhole %s", other.name, h.Addr))
}

// Join is the inverse of Cut.
func (h *Host) Join(other *Host) {
	run(h.tb, fmt.Sprintf("ip -n %s route del blackhole %s", h.name, other.Addr))
	run(h.tb, fmt.Sprintf("ip -n %s route del blackhole %s", other.name, h.Addr))
}

// Program returns the path of a script that execs bin on the host.
func (h *Host) Program(bin string) string {
	path := filepath.Join(h.tb.TempDir(), filepath.Base(bin))
	text := fmt.Sprintf("#!/bin/sh\nexec ip netns exec %s %s \"$@\"\n", h.name, bin)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		h.tb.Fatal(err)
	}
	return path
}

// Wipe kills the node, deletes its directory and starts it again.
func (n *Node) Wipe() {
	n.tb.Helper()
	n.Kill()
	if err := os.RemoveAll(n.dir); err != nil {
		n.tb.Fatal(err)
	}
	n.Start()
}

// Copy stops the node, copies its directory to the new directory to, and starts it again.
func (n *Node) Copy(to string) {
	n.tb.Helper()
	n.Stop()
	if err := os.CopyFS(to, os.DirFS(n.dir)); err != nil {
		n.tb.Fatal(err)
	}
	n.Start()
}

// GoBack kills the node, restores the directory that Copy copied, and starts it again:
// later writes are lost, as in a power failure.
func (n *Node) GoBack(copied string) {
	n.tb.Helper()
	n.Kill()
	if err := errors.Join(os.RemoveAll(n.dir), os.CopyFS(n.dir, os.DirFS(copied))); err != nil {
		n.tb.Fatal(err)
	}
	n.Start()
}
