package crash_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/tests/peer"
)

var clusterRounds = flag.Int("cluster.rounds", 4, "how many faults a cluster has")

// perCluster is how many faults a cluster goes through.
const perCluster = 50

// TestCluster kills, stops and restarts the nodes of a NATS cluster, the leader above all,
// and the servers in front of it, at random moments under load from 8 producers and 4
// readers with cursors, all of which move from server to server. Every acknowledged record
// is there once and in its producer's order, no cursor passes a record that was not
// delivered, and everything works again within 30 s of each fault.
func TestCluster(t *testing.T) {
	if testing.Short() {
		return // the stage cluster runs it
	}
	t.Parallel()
	if !brokertest.Networked(t) {
		return
	}
	bin := peer.Build(t)
	for i, left := 0, *clusterRounds; left > 0 && !t.Failed(); i, left = i+1, left-perCluster {
		t.Run(fmt.Sprintf("cluster=%d", i+1), func(t *testing.T) { clusterFaults(t, bin, min(left, perCluster)) })
	}
}

// recovers is how soon after a fault everything must work again.
const recovers = 30 * time.Second

// A fleet is the servers in front of a cluster.
type fleet struct {
	bins  []string
	hosts []*brokertest.Host // of each server, or empty
	flags []string
	addrs []string
	all   []*peer.Server
}

func (f *fleet) start(t *testing.T, i int) {
	f.all[i] = peer.Serve(t, f.bins[i], append([]string{"--listen", f.addrs[i]}, f.flags...)...)
}

// any returns the address of a random server.
func (f *fleet) any() string { return f.addrs[rand.IntN(len(f.addrs))] }

func clusterFaults(t *testing.T, bin string, rounds int) {
	hosts := brokertest.Hosts(t, 5)
	f := &fleet{
		bins: []string{bin, bin}, addrs: []string{freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.1")}, all: make([]*peer.Server, 2),
	}
	var nodes []*brokertest.Node
	if len(hosts) == 0 {
		nodes = brokertest.Cluster(t, 3, "")
	} else {
		nodes = brokertest.ClusterIn(t, t.TempDir(), 3, "", hosts[:3]...)
		f.hosts = hosts[3:]
		for i, h := range f.hosts {
			f.bins[i], f.addrs[i] = h.Program(bin), h.Addr+":7000"
		}
	}
	f.flags = []string{"--store", brokertest.URLs(nodes), "--nats-prefix", "dw", "--insecure"}
	for i := range f.all {
		f.start(t, i)
	}
	l := newLog()
	var running sync.WaitGroup
	for i := range 8 {
		p := newProducer(i, "replicated")
		p.Send = sendSlowly // so that readers keep up
		p.Again = []string{"unavailable", "fenced", "shutdown", "stale"}
		l.producers[p.Name] = &written{producer: p, rejected: map[uint64]bool{}}
		running.Go(func() {
			if err := p.Run(f.any); err != nil {
				t.Error(err)
			}
		})
	}
	var stopped atomic.Bool
	readers := make([]*cursorReader, 4)
	for i := range readers {
		readers[i] = &cursorReader{name: fmt.Sprint("c", i), log: l, seen: map[string]uint64{}}
		running.Go(func() {
			if err := readers[i].run(f.any, &stopped); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	defer func() {
		stopped.Store(true)
		for _, w := range l.producers {
			w.Stop()
		}
		running.Wait()
		for _, s := range f.all {
			s.Kill(t)
		}
		read := uint64(0)
		for _, r := range readers {
			read += r.records.Load()
		}
		t.Logf("%d faults, %d records, %d read with cursors", rounds, l.records, read)
	}()
	counts := map[string]int{}
	for range rounds {
		time.Sleep(time.Duration(100+rand.IntN(700)) * time.Millisecond) // the moment is random
		begin := time.Now()
		what := clusterFault(t, nodes, f)
		counts[what]++
		healed := time.Now()
		if err := goOn(l, readers, healed.Add(recovers)); err != nil {
			t.Fatalf("after %s: %v", what, err)
		}
		wentOn := time.Since(healed)
		if err := verified(l, f.any(), healed.Add(recovers)); err != nil {
			t.Fatalf("after %s: %v", what, err)
		}
		t.Logf("%s: %v, on after %v, verified after %v", what, healed.Sub(begin).Round(time.Millisecond),
			wentOn.Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
		if t.Failed() {
			return
		}
	}
	t.Logf("%v", counts)
}

// verified verifies the log, and retries while a server is unavailable.
func verified(l *log, addr string, until time.Time) error {
	for {
		before := *l
		seen := map[string]written{}
		for name, w := range l.producers {
			seen[name] = written{w.producer, w.last, w.checked, maps.Clone(w.rejected)}
		}
		err := l.verify(addr)
		if err != nil { // the retry reads everything again
			*l = before
			for name, w := range l.producers {
				*w = seen[name]
			}
		}
		broken := errors.As(err, new(*peer.BrokenError)) && !strings.Contains(err.Error(), "told unavailable")
		if err == nil || broken || time.Now().After(until) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// clusterFault causes a random fault and repairs it.
func clusterFault(t *testing.T, nodes []*brokertest.Node, f *fleet) string {
	node, which := nodes[rand.IntN(len(nodes))], "a node"
	if rand.IntN(2) == 0 {
		if leader := brokertest.Leader(nodes, "dw"); leader != nil {
			node, which = leader, "the leader"
		}
	}
	away := time.Duration(200+rand.IntN(4000)) * time.Millisecond
	others := slices.DeleteFunc(slices.Clone(nodes), func(n *brokertest.Node) bool { return n == node })
	i := rand.IntN(len(f.all))
	kinds := 12
	if len(f.hosts) == 0 {
		kinds = 8 // no faults of the network
	}
	switch rand.IntN(kinds) {
	case 0, 1:
		node.Kill()
		time.Sleep(away)
		node.Start()
		return "kill of " + which
	case 2, 3:
		if rand.IntN(4) == 0 {
			away = 10 * time.Second
		}
		node.Signal(syscall.SIGSTOP)
		time.Sleep(2 * away)
		node.Signal(syscall.SIGCONT)
		return "pause of " + which
	case 4:
		node.Stop()
		node.Start()
		return "restart of " + which
	case 5:
		f.all[i].Kill(t)
		f.start(t, i)
		return "kill of a server"
	case 6:
		node.Wipe()
		node.Ready() // the other two nodes are complete until now
		return "wipe of " + which
	case 7:
		copied := filepath.Join(t.TempDir(), "copy")
		node.Copy(copied)
		node.Ready()
		time.Sleep(away)
		node.GoBack(copied)
		node.Ready()
		return "loss of what was written lately of " + which
	case 8:
		node.Host.Unplug()
		time.Sleep(2 * away)
		node.Host.Plug()
		return "isolation of " + which
	case 9: // servers can still reach it
		for _, other := range others {
			node.Host.Cut(other.Host)
		}
		time.Sleep(2 * away)
		for _, other := range others {
			node.Host.Join(other.Host)
		}
		return "isolation from other nodes of " + which
	case 10: // its clients can still reach it
		for _, n := range nodes {
			f.hosts[i].Cut(n.Host)
		}
		time.Sleep(2 * away)
		for _, n := range nodes {
			f.hosts[i].Join(n.Host)
		}
		return "isolation from nodes of a server"
	default:
		f.hosts[i].Unplug()
		time.Sleep(2 * away)
		f.hosts[i].Plug()
		return "isolation of a server"
	}
}

// goOn waits until every producer has another acknowledgement, and every reader another
// record.
func goOn(l *log, readers []*cursorReader, until time.Time) error {
	acked := map[string]uint64{}
	for name, w := range l.producers {
		acked[name], _ = w.State()
	}
	read := make([]uint64, len(readers))
	for i, r := range readers {
		read[i] = r.records.Load()
	}
	for {
		waiting := ""
		for name, w := range l.producers {
			if now, _ := w.State(); now <= acked[name] {
				waiting = name
			}
		}
		for i, r := range readers {
			if r.records.Load() <= read[i] {
				waiting = r.name
			}
		}
		if waiting == "" {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s does not go on within %v", waiting, recovers)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A cursorReader reads with a cursor, from one server after another.
type cursorReader struct {
	name    string
	log     *log
	seen    map[string]uint64 // the last record of each producer
	records atomic.Uint64
}

func (r *cursorReader) run(addr func() string, stopped *atomic.Bool) error {
	for attempt := 1; !stopped.Load(); attempt++ {
		err := r.session(addr(), attempt, time.Now().Add(time.Duration(200+rand.IntN(3000))*time.Millisecond))
		if errors.As(err, new(*peer.BrokenError)) {
			return err
		}
		if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

// session reads until a time, and commits some of the records.
func (r *cursorReader) session(addr string, attempt int, until time.Time) error {
	s, err := peer.Greet(addr, `{"dictwire":1,"subscribe":"load.*","cursor":%q,"attempt":%d,"from":"earliest","follow":true}`, r.name, attempt)
	if err != nil {
		return err
	}
	defer s.Close()
	s.SetDeadline(until)
	var committed time.Time
	for {
		m, err := s.Next()
		if err != nil {
			return err
		}
		switch m.Code {
		case "":
		case "unavailable", "fenced", "shutdown", "stale":
			return fmt.Errorf("told %s: %s", m.Code, m.Error)
		default:
			return peer.Fault("reading, and told %s: %s", m.Code, m.Error)
		}
		for i, n := range m.Lengths {
			b := make([]byte, n)
			if _, err := io.ReadFull(s.R, b); err != nil {
				return err
			}
			if err := r.see(m.Producer, m.First+uint64(i), b); err != nil {
				return err
			}
		}
		if len(m.Lengths) > 0 && time.Since(committed) > 100*time.Millisecond {
			committed = time.Now()
			if _, err := fmt.Fprintf(s, "{\"commit\":%s}\n", m.Next); err != nil {
				return err
			}
		}
	}
}

// see checks that a record is the next one or was seen before.
func (r *cursorReader) see(producer string, n uint64, b []byte) error {
	w := r.log.producers[producer]
	if w == nil || !bytes.Equal(b, w.append(nil, n)) {
		return peer.Fault("record %d of %s is %q", n, producer, b)
	}
	want := r.seen[producer] + 1
	for w.poisonous(want) {
		want++
	}
	if n > want {
		return peer.Fault("record %d of %s comes after %d", n, producer, r.seen[producer])
	}
	r.seen[producer] = max(r.seen[producer], n)
	r.records.Add(1)
	return nil
}

// sendSlowly is send with pauses.
func sendSlowly(p *peer.Producer, s *peer.Session, next uint64) {
	sendBursts(p, next, func(burst []byte) error {
		if _, err := s.Write(burst); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		return nil
	})
}

// freeAddr returns a free address.
func freeAddr(t *testing.T, ip string) string {
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
