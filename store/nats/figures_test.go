package nats_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
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
		f := newFigures(t, bin, c.more)
		small, fast := f.front(t, 45, 64, 1024), f.fast(t, 45)
		large := f.messages(t, []string{"large"}, 256<<10, 16)
		fmt.Printf("%s: 45 bytes, 64 x 1,024: %.0f/s, fast batches of one each %.0f/s: %.1f x; %.0f MB/s beside %.0f in messages of 256 KiB: %.2f x\n",
			c.name, small.Rate(), fast, small.Rate()/fast, rate(small), large, rate(small)/large)
		hard := f.front(t, 500, 64, 1024)
		fmt.Printf("%s: 500 bytes that hardly shrink: %.0f/s, %.0f MB/s: %.2f x\n", c.name, hard.Rate(), rate(hard), rate(hard)/large)
		one, itself := f.front(t, 45, 1, 1), f.itself(t)
		p50 := time.Duration(one.Latency.ValueAtQuantile(50)) * time.Microsecond
		fmt.Printf("%s: one in flight: p50 %v, of the client publishing itself %v: %.2f x\n", c.name, p50, itself, float64(p50)/float64(itself))
		if c.more == "" {
			f.reading(t)
			for _, n := range []int{1, 2, 4} {
				var streams []string
				for i := range n {
					streams = append(streams, fmt.Sprintf("of%d-%d", n, i))
				}
				fmt.Printf("%d streams: %.0f MB/s in messages of 23 KiB\n", n, f.messages(t, streams, 23<<10, 64/n))
			}
		}
		f.server.Stop(t)
		for _, n := range f.nodes {
			n.Kill()
		}
	}
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
	f.server = peer.Serve(t, bin, "--store", brokertest.URLs(f.nodes))
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

// itself publishes with the check, one message after another. It returns the median time.
func (f *setup) itself(t *testing.T) time.Duration {
	t.Helper()
	f.stream(t, "one")
	nc := admin(t, brokertest.URLs(f.nodes)).Conn()
	var all []time.Duration
	last := uint64(0)
	for begin := time.Now(); time.Since(begin) < *each; {
		m := client.NewMsg("one.x")
		m.Data = make([]byte, 45)
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", fmt.Sprint(last))
		at := time.Now()
		reply, err := nc.RequestMsg(m, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(at))
		var a struct {
			Seq uint64 `json:"seq"`
		}
		if err := json.Unmarshal(reply.Data, &a); err != nil || a.Seq == 0 {
			t.Fatalf("told %s", reply.Data)
		}
		last = a.Seq
	}
	slices.Sort(all)
	return all[len(all)/2]
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
