package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/relay"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a store, a server and a relay on it, each of which may be running.
type node struct {
	t         *testing.T
	fs        *lossy
	store     *log.Store
	server    *dictwire.Server
	handler   dictwire.Handler
	maxRecord int    // 0 means the default
	addr      string // where it listens
	log       testlog.Buffer

	stop context.CancelFunc // of the relay
	done chan error
}

// newNode opens a store and runs a server on it.
func newNode(t *testing.T) *node {
	n := &node{t: t, fs: &lossy{crashfs.New(1)}}
	n.open()
	n.serve()
	t.Cleanup(func() {
		n.unrelay()
		n.unserve()
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *node) open() {
	s, err := log.Open(context.Background(), "store", &log.Options{FS: n.fs, KeepEvery: -1})
	if err != nil {
		n.t.Fatal(err)
	}
	n.store = s
}

func (n *node) serve() {
	if n.addr == "" {
		n.addr = "127.0.0.1:0"
	}
	var l net.Listener
	eventually(n.t, func() string { return "listening on " + n.addr }, func() (ok bool) {
		var err error
		l, err = dictwire.Listen(context.Background(), n.addr)
		return err == nil
	})
	n.addr = l.Addr().String()
	srv := &dictwire.Server{Store: n.store, Handler: n.handler, Limits: codec.Limits{RecordBytes: n.maxRecord}}
	n.server = srv
	go func() { _ = srv.Serve(dictwire.Endpoint{Listener: l}) }()
}

func (n *node) unserve() {
	if n.server != nil {
		_ = n.server.Close()
		n.server = nil
	}
}

// relay starts relaying to another node.
func (n *node) relay(up *node) {
	n.relayBy(up.addr, nil)
}

func (n *node) relayBy(addr string, dial func(context.Context, string, string) (net.Conn, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.done = cancel, make(chan error, 1)
	r := &relay.Relay{Store: n.store, Addr: addr, Logger: n.log.Logger(), Dialer: dictwire.Dialer{
		MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, DialContext: dial,
	}}
	go func() { n.done <- r.Run(ctx) }()
}

func (n *node) unrelay() {
	if n.stop == nil {
		return
	}
	n.stop()
	n.stop = nil
	if err := <-n.done; !errors.Is(err, context.Canceled) {
		n.t.Errorf("the relay ended with %v", err)
	}
}

// crash ends the node like a power failure, after some more writes if there are any, and
// restarts its server and its relay.
func (n *node) crash(rng *rand.Rand, up string, dial func(context.Context, string, string) (net.Conn, error)) {
	left := n.fs.lose(rng)
	n.unrelay()
	n.unserve()
	_ = n.store.Close()
	n.fs = &lossy{FS: left}
	n.open()
	n.serve()
	n.relayBy(up, dial)
}

// records returns the records of a topic, which must not be trimmed meanwhile.
func (n *node) records(topic string) (all []string) {
	n.t.Helper()
	all, err := n.read(topic)
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// read returns the records of a topic, and the error with which reading ended.
func (n *node) read(topic string) (all []string, err error) {
	for b, err := range n.store.Read(n.t.Context(), store.Position{}, store.ReadOptions{Topics: []string{topic}}) {
		if err != nil {
			return all, err
		}
		if b.Block == nil {
			continue
		}
		for _, r := range b.Block.Records(0) {
			all = append(all, string(r))
		}
	}
	return all, nil
}

// rejected returns the rejected records.
func (n *node) rejected() (all []*dict.Dict) {
	n.t.Helper()
	for _, r := range n.records(store.Rejected) {
		d, err := cbor.Codec{}.Decode([]byte(r), dictwire.Server{}.Limits)
		if err != nil {
			n.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what func() string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what())
		}
	}
}

// wantRecords waits until a topic has n records with these numbers, in order.
func (n *node) wantRecords(topic string, count int) {
	n.t.Helper()
	eventually(n.t, func() string { return fmt.Sprintf("%d records of %s, of %d", count, topic, len(n.records(topic))) },
		func() bool { return len(n.records(topic)) >= count })
	for i, r := range n.records(topic) {
		if want := fmt.Sprintf(`{"n":%d}`, i+1); r != want {
			n.t.Fatalf("record %d of %s is %s", i+1, topic, r)
		}
	}
}

// send sends numbered records to a topic, and waits until they are settled.
func (n *node) send(topic string, from, to int) {
	n.t.Helper()
	c, err := dictwire.Dialer{Codec: json.Codec{}}.Dial(n.t.Context(), n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	for i := from; i <= to; i++ {
		if err := c.SendAsync(n.t.Context(), topic, map[string]int{"n": i}); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := c.Flush(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func TestRelay(t *testing.T) {
	up, r := newNode(t), newNode(t)
	r.send("old", 1, 10) // before there is a relay
	r.relay(up)
	up.wantRecords("old", 10)
	r.send("a", 1, 100)
	r.send("a.b", 1, 3)
	up.wantRecords("a", 100)
	up.wantRecords("a.b", 3)
	r.send("a", 101, 200)
	up.wantRecords("a", 200)
	// Settled records are trimmed, in whole blocks, and nothing else is relayed.
	eventually(t, func() string { return "all is trimmed" }, func() bool {
		for _, topic := range []string{"a", "a.b", "old"} {
			// The relay trims the topic meanwhile.
			all, err := r.read(topic)
			if err != nil && !errors.As(err, new(*store.TrimmedError)) {
				t.Fatal(err)
			}
			if err != nil || len(all) > 0 {
				return false
			}
		}
		return true
	})
	stats, err := up.store.Topics(t.Context())
	if err != nil || len(stats) != 3 {
		t.Errorf("topics %+v, %v", stats, err)
	}
	// Numbers continue after everything was trimmed.
	r.unrelay()
	r.send("a", 201, 210)
	r.relay(up)
	up.wantRecords("a", 210)
}

// TestFormats relays records of several formats and dialects in one topic.
func TestFormats(t *testing.T) {
	up, r := newNode(t), newNode(t)
	r.relay(up)
	want := []string{}
	for i := range 30 {
		record := fmt.Appendf(nil, `{"n":%d}`, i)
		if i%3 == 1 {
			var err error
			if record, err = (cbor.Codec{}).Append(nil, dict.Of("n", i)); err != nil {
				t.Fatal(err)
			}
		}
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(record); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		want = append(want, string(record))
		eventually(t, func() string { return fmt.Sprint(i, " is stored") }, func() bool {
			return len(up.records("default")) == i+1
		})
	}
	if got := up.records("default"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAway lets senders send while the upstream server is away.
func TestAway(t *testing.T) {
	up, r := newNode(t), newNode(t)
	up.unserve()
	r.relay(up)
	for i := range 5 {
		r.send("a", i*20+1, i*20+20)
		if i == 2 {
			r.unrelay()
			r.relay(up)
		}
	}
	up.serve()
	up.wantRecords("a", 100)
}

// TestTwoNetworks relays through two relays, each of which is stopped now and then.
func TestTwoNetworks(t *testing.T) {
	up, middle, r := newNode(t), newNode(t), newNode(t)
	middle.relay(up)
	r.relay(middle)
	for i := range 8 {
		r.send("a", i*10+1, i*10+10)
		switch i {
		case 1:
			up.unserve()
		case 2:
			middle.unrelay()
			middle.unserve()
		case 4:
			middle.serve()
			middle.relay(up)
		case 5:
			r.unrelay()
			up.serve()
		case 6:
			r.relay(middle)
		}
	}
	up.wantRecords("a", 80)
}

// TestRejected stores records that upstream rejects, once, with their senders.
func TestRejected(t *testing.T) {
	up := newNode(t)
	up.unserve()
	up.handler = dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if v, _ := r.Dict().Get("n"); dict.Equal(v, dict.Int(3)) || dict.Equal(v, dict.Int(7)) {
			return nil, dictwire.Reject("number", "no threes, no sevens")
		}
		return nil, nil
	})
	up.serve()
	r := newNode(t)
	r.relay(up)
	r.send("a", 1, 8)
	eventually(t, func() string { return "6 records upstream" }, func() bool { return len(up.records("a")) == 6 })
	eventually(t, func() string { return "2 rejected here" }, func() bool { return len(r.rejected()) == 2 })
	d := r.rejected()[0]
	for key, want := range map[string]string{
		"code": `"handler"`, "reason": `"number"`, "topic": `"a"`, "number": "3", "format": `"json"`, "dialect": `"relay"`, "size": "7", "bytes": `b'{"n":3}'`,
	} {
		v, _ := d.Get(key)
		if got := strings.ReplaceAll(v.String(), "'", `"`); got != strings.ReplaceAll(want, "'", `"`) {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if !strings.Contains(r.log.String(), "no threes") {
		t.Errorf("the log says nothing: %s", r.log.String())
	}
	r.unrelay()
	r.relay(up)
	r.send("a", 9, 9)
	eventually(t, func() string { return "7 records upstream" }, func() bool { return len(up.records("a")) == 7 })
	if n := len(r.rejected()); n != 2 {
		t.Errorf("%d rejected records are kept, want 2", n)
	}
}

// TestRejectedWhole keeps the whole of a record that was acknowledged here and rejected
// upstream, for whatever reason: it is nowhere else.
func TestRejectedWhole(t *testing.T) {
	up := newNode(t)
	up.unserve()
	up.maxRecord = 300_000
	up.handler = dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if len(r.Bytes) > 200_000 {
			return nil, dictwire.Reject("", "not so much")
		}
		return nil, nil
	})
	up.serve()
	r := newNode(t)
	r.relay(up)
	c, err := dictwire.Dialer{Codec: json.Codec{}}.Dial(t.Context(), r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var records []string
	for i, size := range []int{250_000, 100_000, 900_000} {
		record := fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat("x", size))
		records = append(records, record)
		if _, err := c.Send(t.Context(), "a", dictwire.Record{Bytes: []byte(record)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string { return "1 record upstream" }, func() bool { return len(up.records("a")) == 1 })
	eventually(t, func() string { return "2 rejected here" }, func() bool { return len(r.rejected()) == 2 })
	for i, code := range map[int]string{0: "handler", 2: "too_large"} {
		d := r.rejected()[i/2]
		v, _ := d.Get("bytes")
		kept, _ := v.Bytes()
		if got, _ := d.Get("code"); string(kept) != records[i] || got.String() != "'"+code+"'" {
			t.Errorf("%d bytes are kept of record %d, want %d: %v", len(kept), i, len(records[i]), got)
		}
	}
}
