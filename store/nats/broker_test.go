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

// TestRefused opens stores at brokers that don't meet the requirements.
func TestRefused(t *testing.T) {
	for more, want := range map[string]string{
		"max_payload: 40000": "raise max_payload",
		"accounts {A: {users: [{user: u, password: p}]}}\nno_auth_user: u":                                                        "JetStream is not enabled",
		"accounts {A: {jetstream: {max_store: 1MB, max_bytes_required: true}, users: [{user: u, password: p}]}}\nno_auth_user: u": "MaxBytes",
	} {
		b := brokertest.URLs(brokertest.Cluster(t, 1, more))
		_, err := nats.Open(t.Context(), b, &nats.Options{Replicas: 1})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", more, err, want)
		}
	}
}

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
