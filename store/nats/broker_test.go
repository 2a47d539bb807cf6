package nats_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
)

// single starts one node. It returns the node and a JetStream client for administration.
func single(t *testing.T, more string) (*broker, jetstream.JetStream) {
	t.Helper()
	b := &broker{urls: brokertest.URLs(brokertest.Cluster(t, 1, more)), replicas: 1, options: map[store.Store]*nats.Options{}}
	nc, err := client.Connect(b.urls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return b, js
}

// TestParts stores blocks many times larger than max_payload, reads them from the beginning
// and from each position, with and without room, and trims them.
func TestParts(t *testing.T) {
	b, _ := single(t, "max_payload: 65536")
	s, ctx := b.open(t, b.fresh()), t.Context()
	p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
	c, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	var at []store.Position
	next := uint64(1)
	for i := range 8 {
		record := make([]byte, []int{10, 1 << 20, 70_000, 200}[i%4])
		_, _ = rand.Read(record)
		bl := &store.Block{Topic: "a", Codec: "json"}
		if i%3 > 0 {
			bl.Principal, bl.Producer, bl.Epoch, bl.First = "p", p, c.Epoch, next
			next++
		}
		bl.Add(record)
		r := s.Append(ctx, bl)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		want, at = append(want, record), append(at, r.Position)
	}
	read := func(from store.Position) (got [][]byte) {
		for batch, err := range s.Read(ctx, from, store.ReadOptions{}) {
			if err != nil && !errors.As(err, new(*store.TrimmedError)) {
				t.Fatal(err)
			}
			if batch.Block != nil {
				got = append(got, bytes.Clone(batch.Block.Data))
			}
		}
		return got
	}
	check := func(from store.Position, want [][]byte) {
		t.Helper()
		got := read(from)
		if len(got) != len(want) {
			t.Fatalf("from %v: %d blocks, want %d", from, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("from %v: block %d is another one", from, i)
			}
		}
	}
	check(store.Position{}, want)
	for i := range at {
		check(at[i], want[i:])
	}
	within := at[1] // the block that contains the position stays, so does everything after its first part
	within.Block++
	if err := s.Trim(ctx, "a", within); err != nil {
		t.Fatal(err)
	}
	check(store.Position{}, want[2:])
	if again, err := s.Claim(ctx, p, store.ClaimRequest{Acked: next - 1}); err != nil || again.Next != next {
		t.Fatalf("Claim: %+v, %v, want number %d", again, err, next)
	}
}

// TestStreamGone deletes the stream under an open store. The store ends, and the next one
// has another tag.
func TestStreamGone(t *testing.T) {
	t.Parallel()
	b, js := single(t, "")
	gone := make(chan error, 1)
	o := b.fresh()
	o.Fatal = func(err error) { gone <- err }
	s, ctx := b.open(t, o), t.Context()
	bl := &store.Block{Topic: "a", Codec: "json"}
	bl.Add([]byte("{}"))
	r := s.Append(ctx, bl)[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := js.DeleteStream(ctx, o.Prefix); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("a store whose stream is gone goes on")
	}
	if err := s.Append(ctx, bl)[0].Err; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Append: %v", err)
	}
	next := b.open(t, o)
	if err := next.CheckPosition(ctx, r.Position); !errors.Is(err, store.ErrPosition) {
		t.Errorf("CheckPosition of the stream before: %v", err)
	}
}

// TestAdopt opens a stream that was not made by this package. The error lists everything
// that does not fit.
func TestAdopt(t *testing.T) {
	b, js := single(t, "")
	o := b.fresh()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: o.Prefix, Subjects: []string{"other"}, MaxAge: time.Hour,
	}); err != nil {
		t.Fatal(err)
	}
	_, err := nats.Open(t.Context(), b.urls, o)
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"subjects", "max_age", "discard new", "allow_direct", "allow_atomic", "allow_msg_ttl", "allow_rollup_hdrs", "dictwire.layout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %s: %v", want, err)
		}
	}
}

// TestRefused opens stores at brokers that can't be used, or not in this way. The errors
// say at once what may help.
func TestRefused(t *testing.T) {
	t.Parallel()
	const accounts = `accounts {
		none: {users: [{user: none, password: p}]}
		small: {jetstream: {max_store: 1MB, max_bytes_required: true}, users: [{user: small, password: p}]}
		one: {jetstream: {max_streams: 1}, users: [
			{user: one, password: p}
			{user: deaf, password: p, permissions: {publish: ["s.>", "$JS.API.>"], subscribe: ["other"]}}
			{user: mute, password: p, permissions: {publish: ["$JS.API.>"], subscribe: ["_INBOX.>"]}}
		]}
	}`
	secured := brokertest.URLs(brokertest.Cluster(t, 1, accounts))
	b, js := single(t, "")
	narrow := brokertest.URLs(brokertest.Cluster(t, 1, "max_payload: 40000"))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "other", Subjects: []string{"taken.>"}}); err != nil {
		t.Fatal(err)
	}
	as := func(user string) string { return strings.Replace(secured, "nats://", "nats://"+user+"@", 1) }
	for _, c := range []struct {
		what, url string
		o         nats.Options
		want      string
	}{
		{"too small a payload", narrow, nats.Options{}, "raise max_payload"},
		{"nobody there", "nats://127.0.0.1:1", nats.Options{}, "look after the nodes"},
		{"no TLS there", strings.Replace(b.urls, "nats", "tls", 1), nats.Options{}, "instead of tls://"},
		{"too few nodes", b.urls, nats.Options{Replicas: 3}, "set Options.Replicas"},
		{"a number of replicas that is none", b.urls, nats.Options{Replicas: 2}, "want 1, 3 or 5"},
		{"another's subjects", b.urls, nats.Options{Prefix: "taken"}, "Options.Prefix selects"},
		{"another's stream", b.urls, nats.Options{Prefix: "other"}, "needs another name"},
		{"half a certificate", b.urls, nats.Options{Certificate: "some.pem"}, "Options.Key is missing"},
		{"no user", secured, nats.Options{}, "Options.Credentials"},
		{"a wrong password", as("one:q"), nats.Options{}, "Options.Credentials"},
		{"no JetStream", as("none:p"), nats.Options{}, "another account"},
		{"no limit", as("small:p"), nats.Options{}, "set Options.MaxBytes"},
		{"too large a limit", as("small:p"), nats.Options{MaxBytes: 2 << 20}, "raise the limits"},
		{"no right to subscribe", as("deaf:p"), nats.Options{Prefix: "s"}, "subscribe to _INBOX.>"},
		{"no right to publish", as("mute:p"), nats.Options{Prefix: "s"}, "publish to s.>"},
		{"a stream too many", as("one:p"), nats.Options{Prefix: "second"}, "raise max_streams"},
	} {
		begin := time.Now()
		if c.o.Replicas == 0 {
			c.o.Replicas = 1
		}
		s, err := nats.Open(t.Context(), c.url, &c.o)
		if err == nil {
			err = errors.Join(errors.New("it is opened"), s.Close())
		}
		if took := time.Since(begin); !strings.Contains(err.Error(), c.want) || took > openTime/2 {
			t.Errorf("%s, after %v: %v, want %q", c.what, took, err, c.want)
		}
	}
}

// openTime is how long Open waits for a broker that may still be starting.
const openTime = 30 * time.Second

// TestHead appends blocks, the last of which is not on its producer's own topic. The head
// must be after it at once.
func TestHead(t *testing.T) {
	b, _ := single(t, "")
	s, ctx := b.open(t, b.fresh()), t.Context()
	p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
	c, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n < 200; n += 2 {
		var blocks []*store.Block
		for i, topic := range []string{"a", store.Rejected} {
			bl := &store.Block{Topic: topic, Codec: "json", Principal: "p", Producer: p, Epoch: c.Epoch, First: n + uint64(i)}
			bl.Add([]byte("{}"))
			blocks = append(blocks, bl)
		}
		last := s.Append(ctx, blocks...)[1]
		if last.Err != nil {
			t.Fatal(last.Err)
		}
		if head, err := s.Head(ctx); err != nil || head.Compare(last.Position) <= 0 {
			t.Fatalf("Head: %v, %v, with a block at %v", head, err, last.Position)
		}
	}
}
