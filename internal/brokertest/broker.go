// Package brokertest runs NATS JetStream brokers as processes, for tests.
package brokertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary returns the nats-server that tests/broker pins, and builds it if necessary.
var binary = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "tool", "-n", "nats-server")
	cmd.Dir = filepath.Join(filepath.Dir(string(bytes.TrimSpace(root))), "tests", "broker")
	cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building nats-server: %w: %s", err, stderr.String())
	}
	return string(bytes.TrimSpace(out)), nil
})

// A Node is a nats-server.
type Node struct {
	tb     testing.TB
	name   string
	dir    string
	config string // path of the configuration
	always string // the fixed part of the configuration
	URL    string // for clients
	Host   *Host  // where it runs, or nil

	monitor string // URL of the monitoring endpoint

	mu    sync.Mutex
	cmd   *exec.Cmd     // nil while it does not run; guarded by mu
	ended chan struct{} // guarded by mu
}

// Cluster starts nodes that form a cluster, each with a directory of its own. more is added
// to their configuration. They are stopped when the test ends.
func Cluster(tb testing.TB, n int, more string) []*Node {
	tb.Helper()
	return ClusterIn(tb, tb.TempDir(), n, more)
}

// ClusterIn is Cluster with the nodes' directories in dir and, if there are hosts, one node
// on each host.
func ClusterIn(tb testing.TB, dir string, n int, more string, hosts ...*Host) []*Node {
	tb.Helper()
	at := func(i, port int) string {
		if len(hosts) > 0 {
			return fmt.Sprintf("%s:%d", hosts[i].Addr, port)
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	ports := freePorts(tb, 3*n)
	var routes []string
	for i := range n {
		routes = append(routes, "nats://"+at(i, ports[n+i]))
	}
	var nodes []*Node
	for i := range n {
		node := &Node{tb: tb, name: fmt.Sprintf("n%d", i+1), dir: filepath.Join(dir, fmt.Sprintf("n%d", i+1)), URL: "nats://" + at(i, ports[i]), monitor: "http://" + at(i, ports[2*n+i])}
		if len(hosts) > 0 {
			node.Host = hosts[i]
		}
		node.always = fmt.Sprintf("server_name: %s\nlisten: %s\njetstream {store_dir: %q, max_file_store: 20GB%%s}\nhttp: %q\n", node.name, at(i, ports[i]), node.dir, at(i, ports[2*n+i]))
		if n > 1 {
			node.always += fmt.Sprintf("cluster {name: test, listen: %q, routes: [%s]}\n", at(i, ports[n+i]), strings.Join(routes, ", "))
		}
		node.config = filepath.Join(dir, node.name+".conf")
		node.write(more)
		nodes = append(nodes, node)
		tb.Cleanup(node.Kill)
	}
	for _, node := range nodes {
		node.Start()
	}
	for _, node := range nodes {
		node.Ready()
	}
	return nodes
}

// write writes the node's configuration.
func (n *Node) write(more string) {
	n.tb.Helper()
	more, synced := strings.CutPrefix(more, Synced)
	inside := ""
	if synced {
		inside = ", sync_interval: always"
	}
	if err := os.WriteFile(n.config, []byte(fmt.Sprintf(n.always, inside)+more+"\n"), 0o600); err != nil {
		n.tb.Fatal(err)
	}
}

// Configure replaces more in the configuration of a running node.
func (n *Node) Configure(more string) {
	n.tb.Helper()
	n.write(more)
	n.Signal(syscall.SIGHUP)
}

// Synced makes nodes sync before they answer. It must come first in more.
const Synced = "# synced\n"

// Ready waits until JetStream is available on the node.
func (n *Node) Ready() {
	n.tb.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.Get(n.monitor + "/healthz")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Since(begin) > time.Minute {
			n.tb.Fatalf("%s is not ready: %v\n%s", n.name, err, n.Log())
		}
	}
}

// Leader returns the node that leads a stream, or nil if none says that one does.
func Leader(nodes []*Node, stream string) *Node {
	for _, n := range nodes {
		r, err := (&http.Client{Timeout: time.Second}).Get(n.monitor + "/jsz?accounts=true&streams=true")
		if err != nil {
			continue
		}
		var about struct {
			Accounts []struct {
				Streams []struct {
					Name    string `json:"name"`
					Cluster struct {
						Leader string `json:"leader"`
					} `json:"cluster"`
				} `json:"stream_detail"`
			} `json:"account_details"`
		}
		err = json.NewDecoder(r.Body).Decode(&about)
		r.Body.Close()
		if err != nil {
			continue
		}
		for _, a := range about.Accounts {
			for _, s := range a.Streams {
				for _, leader := range nodes {
					if s.Name == stream && leader.name == s.Cluster.Leader {
						return leader
					}
				}
			}
		}
	}
	return nil
}

// URLs returns the addresses of nodes for clients.
func URLs(nodes []*Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.URL)
	}
	return strings.Join(all, ",")
}

// freePorts returns free ports of the loopback address.
func freePorts(tb testing.TB, n int) (ports []int) {
	tb.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Dir returns the node's directory.
func (n *Node) Dir() string { return n.dir }

// Start starts the node, and waits until it listens.
func (n *Node) Start() {
	n.tb.Helper()
	bin, err := binary()
	if err != nil {
		n.tb.Fatal(err)
	}
	if n.Host != nil {
		bin = n.Host.Program(bin)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd = exec.Command(bin, "-c", n.config, "-l", n.dir+".log")
	dieWithUs(n.cmd)
	if err := n.cmd.Start(); err != nil {
		n.tb.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(n.cmd, n.ended)
	address := strings.TrimPrefix(n.URL, "nats://")
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-n.ended:
			n.tb.Fatalf("%s has ended:\n%s", n.name, n.Log())
		default:
		}
		if time.Since(begin) > 30*time.Second {
			n.tb.Fatalf("%s does not listen: %v\n%s", n.name, err, n.Log())
		}
	}
}

// Log returns the end of the node's log.
func (n *Node) Log() string {
	text, _ := os.ReadFile(n.dir + ".log")
	return string(text[max(len(text)-4000, 0):])
}

// Signal sends a signal to the node.
func (n *Node) Signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s)
	}
}

// Kill kills the node, and waits until it has exited.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop asks the node to shut down, and waits until it has exited.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

func (n *Node) end(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.tb.Errorf("%s: %v", n.name, err)
	}
	select {
	case <-n.ended:
	case <-time.After(20 * time.Second):
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	n.cmd = nil
}
