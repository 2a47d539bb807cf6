package nats_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	codec "github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/bench"
	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
	"github.com/dictwire/dictwire/tests/peer"
)

var (
	figures = flag.Bool("figures", false, "measure a server in front of three nodes beside the broker itself")
	each    = flag.Duration("figures.each", 3*time.Second, "for how long each is measured")
)

// TestFigures compares a server in front of three nodes with the broker alone. Everything
// runs on one machine, so only the ratios mean anything.
func TestFigures(t *testing.T) {
	if !*figures {
		return // make cluster-bench runs it
	}
	bin := peer.Build(t)
	for _, c := range []struct{ name, more string }{{"default sync", ""}, {"sync always", brokertest.Synced}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFigures(t, bin, c.more)
			t.Run("many", func(t *testing.T) { f.many(t, c.name) })
			t.Run("one", func(t *testing.T) { f.one(t, c.name) })
			if c.more != "" {
				return
			}
			t.Run("reading", f.reading)
			t.Run("streams", func(t *testing.T) {
				for _, n := range []int{1, 2, 4} {
					var streams []string
					for i := range n {
						streams = append(streams, fmt.Sprintf("of%d-%d", n, i))
					}
					fmt.Printf("%d streams: %.0f MB/s in messages of 23 KiB\n", n, f.messages(t, streams, 23<<10, 64/n))
				}
			})
		})
	}
}

// many has many connections with many records in flight each.
func (f *setup) many(t *testing.T, sync string) {
	small, fast := f.front(t, 45, 64, 1024), f.fast(t, 45)
	large := f.messages(t, []string{"large"}, 256<<10, 16)
	fmt.Printf("%s: 45 bytes, 64 x 1,024: %.0f/s, fast batches of one each %.0f/s: %.1f x; %.0f MB/s beside %.0f in messages of 256 KiB: %.2f x\n",
		sync, small.Rate(), fast, small.Rate()/fast, rate(small), large, rate(small)/large)
	hard := f.front(t, 500, 64, 1024)
	fmt.Printf("%s: 500 bytes that hardly shrink: %.0f/s, %.0f MB/s: %.2f x\n", sync, hard.Rate(), rate(hard), rate(hard)/large)
}

func rate(r *bench.Result) float64 { return float64(r.Bytes) / r.Elapsed.Seconds() / 1e6 }

// A setup is three nodes and a server in front of them.
type setup struct {
	nodes  []*brokertest.Node
	server *peer.Server
	js     jetstream.JetStream
	topics int
}

func newFigures(t *testing.T, bin, more string) *setup {
	t.Helper()
	f := &setup{nodes: brokertest.Cluster(t, 3, more)}
	f.server = peer.Serve(t, bin, "--store", f.nodes[0].URL)
	t.Cleanup(func() { f.server.Stop(t) })
	f.js = admin(t, brokertest.URLs(f.nodes))
	return f
}

// front puts load on the server.
func (f *setup) front(t *testing.T, size, connections, inFlight int) *bench.Result {
	t.Helper()
	records, err := bench.Generate(size, codec.Codec{})
	if err != nil {
		t.Fatal(err)
	}
	target, _ := bench.TargetOf("dictwire")
	f.topics++
	r, err := bench.Run(t.Context(), bench.Options{
		Target: target, Topic: fmt.Sprint("b", f.topics), Records: records, Connections: connections, InFlight: inFlight, Duration: *each,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", f.server.Addr)
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stream makes a stream with three replicas.
func (f *setup) stream(t *testing.T, name string) {
	t.Helper()
	if _, err := f.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: name, Subjects: []string{name + ".>"}, Replicas: 3, AllowDirect: true, AllowBatchPublish: true,
	}); err != nil {
		t.Fatal(err)
	}
}

// fast publishes in fast batches (ADR-50), one message per dictionary, over four
// connections. It returns messages per second.
func (f *setup) fast(t *testing.T, size int) float64 {
	t.Helper()
	f.stream(t, "fast")
	body := make([]byte, size)
	var total atomic.Uint64
	begin := time.Now()
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			n, err := fastBatch(brokertest.URLs(f.nodes), fmt.Sprintf("fast.%d", i), body, begin.Add(*each))
			if err != nil {
				t.Error(err)
			}
			total.Add(n)
		})
	}
	running.Wait()
	return float64(total.Load()) / time.Since(begin).Seconds()
}

func fastBatch(urls, subject string, body []byte, until time.Time) (uint64, error) {
	nc, err := client.Connect(urls)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	inbox := client.NewInbox()
	acks, err := nc.SubscribeSync(inbox + ".>")
	if err != nil {
		return 0, err
	}
	const flow = 500
	prefix := fmt.Sprintf("%s.%s.%d.fail.", inbox, rand.Text(), flow)
	acked := uint64(0)
	for seq := uint64(1); ; seq++ {
		op := 1
		if seq == 1 {
			op = 0
		} else if time.Now().After(until) {
			op = 2
		}
		if err := nc.PublishRequest(subject, fmt.Sprintf("%s%d.%d.$FI", prefix, seq, op), body); err != nil {
			return 0, err
		}
		for op == 2 || seq >= acked+3*flow || seq == 1 {
			m, err := acks.NextMsg(10 * time.Second)
			if err != nil {
				return 0, fmt.Errorf("message %d, %d acknowledged: %w", seq, acked, err)
			}
			var a struct {
				Seq   uint64          `json:"seq"`
				Count uint64          `json:"count"`
				Error json.RawMessage `json:"error"`
			}
			if err := json.Unmarshal(m.Data, &a); err != nil || a.Error != nil {
				return 0, fmt.Errorf("told %s", m.Data)
			}
			if a.Count > 0 {
				return a.Count, nil
			}
			acked = max(acked, a.Seq)
			if seq == 1 {
				break
			}
		}
	}
}

// messages publishes to streams with inFlight messages each. It returns megabytes per
// second.
func (f *setup) messages(t *testing.T, streams []string, size, inFlight int) float64 {
	t.Helper()
	body := make([]byte, size)
	_, _ = rand.Read(body)
	var total atomic.Uint64
	for _, name := range streams {
		f.stream(t, name)
	}
	begin := time.Now()
	var running sync.WaitGroup
	for _, name := range streams {
		nc := admin(t, brokertest.URLs(f.nodes)).Conn()
		for i := range inFlight {
			running.Go(func() {
				for time.Since(begin) < *each {
					m, err := nc.Request(fmt.Sprintf("%s.%d", name, i), body, 10*time.Second)
					if err != nil || strings.Contains(string(m.Data), `"error"`) {
						t.Errorf("publishing: %v", err)
						return
					}
					total.Add(uint64(size))
				}
			})
		}
	}
	running.Wait()
	return float64(total.Load()) / time.Since(begin).Seconds() / 1e6
}

// one measures one record in flight: by the server, and by a client that publishes with the
// check itself, directly and through a process that only carries bytes, which is what no
// server can be faster than. All are connected to the node that leads, and take turns.
func (f *setup) one(t *testing.T, sync string) {
	first := f.nodes[0]
	for _, name := range []string{"alone", "carried"} {
		f.stream(t, name)
		f.lead(t, name)
	}
	f.lead(t, "dictwire")
	ways := []func() error{
		publishing(t, first.URL, "alone.x"),
		publishing(t, "nats://"+carrier(t, strings.TrimPrefix(first.URL, "nats://")), "carried.x"),
		sending(t, f.server.Addr),
	}
	const turns = 10
	took := make([][]time.Duration, len(ways))
	for range turns {
		for i, do := range ways {
			for begin := time.Now(); time.Since(begin) < *each/turns; {
				at := time.Now()
				if err := do(); err != nil {
					t.Fatal(err)
				}
				took[i] = append(took[i], time.Since(at))
			}
		}
	}
	var p50 [3]time.Duration
	for i := range took {
		slices.Sort(took[i])
		p50[i] = took[i][len(took[i])/2].Round(time.Microsecond)
	}
	fmt.Printf("%s: one in flight: p50 %v, of the client publishing itself %v: %.2f x; and through a process that carries bytes %v: %.2f x\n",
		sync, p50[2], p50[0], float64(p50[2])/float64(p50[0]), p50[1], float64(p50[1])/float64(p50[0]))
}

// lead has the first node lead a stream.
func (f *setup) lead(t *testing.T, stream string) {
	t.Helper()
	for range 50 {
		if brokertest.Leader(f.nodes, stream) == f.nodes[0] {
			return
		}
		_, _ = f.js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, []byte(`{"placement":{"preferred":"n1"}}`), 5*time.Second)
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("the first node does not lead %s", stream)
}

// publishing returns what publishes one message after another with the check.
func publishing(t *testing.T, url, subject string) func() error {
	nc := admin(t, url).Conn()
	last := uint64(0)
	return func() error {
		m := client.NewMsg(subject)
		m.Data = make([]byte, 45)
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", fmt.Sprint(last))
		var a struct {
			Seq   uint64          `json:"seq"`
			Error json.RawMessage `json:"error"`
		}
		for begin := time.Now(); ; {
			reply, err := nc.RequestMsg(m, 10*time.Second)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(reply.Data, &a); err != nil {
				return err
			}
			if a.Seq > 0 {
				last = a.Seq
				return nil
			}
			if !strings.Contains(string(a.Error), "10164") || time.Since(begin) > time.Second {
				return fmt.Errorf("told %s", reply.Data)
			}
		}
	}
}

// sending returns what sends a server one record after another, and waits for its ack.
func sending(t *testing.T, addr string) func() error {
	t.Helper()
	s, err := peer.Greet(addr, `{"dictwire":1,"topic":"one","producer":"x"}`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.SetDeadline(time.Time{})
	if m, err := s.Next(); err != nil || m.Next == nil {
		t.Fatalf("greeted, and told %+v, %v", m, err)
	}
	n := uint64(0)
	return func() error {
		n++
		if _, err := fmt.Fprintf(s, "{\"number\":\"%031d\"}\n", n); err != nil {
			return err
		}
		for {
			m, err := s.Next()
			if err != nil || m.Code != "" {
				return errors.Join(err, fmt.Errorf("told %s: %s", m.Code, m.Error))
			}
			if m.Ack != nil && *m.Ack == n {
				return nil
			}
		}
	}
}

// carrying names what a process of TestCarrier carries bytes to.
const carrying = "DICTWIRE_TEST_CARRY"

// TestCarrier is a process of its own that carries bytes between whoever connects and an
// address.
func TestCarrier(t *testing.T) {
	to := os.Getenv(carrying)
	if to == "" {
		return // carrier runs it
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(l.Addr())
	for {
		from, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		back, err := net.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range [][2]net.Conn{{from, back}, {back, from}} {
			go func() {
				// Not by splice, which takes longer for little.
				_, _ = io.Copy(struct{ io.Writer }{way[1]}, struct{ io.Reader }{way[0]})
				_ = way[1].Close()
			}()
		}
	}
}

// carrier runs TestCarrier, and returns where it listens.
func carrier(t *testing.T, to string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCarrier$")
	cmd.Env = append(os.Environ(), carrying+"="+to)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // its context has ended
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// reading compares reading through a store with an ordered consumer of the broker.
func (f *setup) reading(t *testing.T) {
	t.Helper()
	s, err := nats.Open(t.Context(), brokertest.URLs(f.nodes), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := time.Now()
	blocks, size := 0, 0
	for batch, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch.Block != nil {
			blocks++
			size += len(batch.Block.Data)
		}
	}
	ours := time.Since(begin)
	c, err := f.js.OrderedConsumer(t.Context(), "dictwire", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"dictwire.b.>"}})
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	it, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	messages := 0
	for {
		m, err := it.Next()
		if err != nil {
			t.Fatal(errors.Join(err, t.Context().Err()))
		}
		messages++
		if about, err := m.Metadata(); err != nil || about.NumPending == 0 {
			break
		}
	}
	theirs := time.Since(begin)
	fmt.Printf("reading: %d blocks, %.0f MB of records in %v, %d messages by an ordered consumer in %v: %.2f x\n", blocks, float64(size)/1e6,
		ours.Round(time.Millisecond), messages, theirs.Round(time.Millisecond), float64(theirs)/float64(ours))
}
