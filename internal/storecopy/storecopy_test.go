package storecopy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/internal/storecopy"
	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A movable is a store that can be copied and become a copy.
type movable interface {
	storecopy.Target
	Close() error
}

// A place is where a store lies.
type place interface {
	open(t *testing.T, becomes bool) movable
}

type directory struct{ fs vfs.FS }

func newDirectory() directory { return directory{vfs.NewMem()} }

func (d directory) open(t *testing.T, becomes bool) movable {
	t.Helper()
	s, err := log.Open(t.Context(), "store", &log.Options{FS: d.fs, KeepEvery: -1, Import: becomes, MaxSegment: 64 << 10, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type stream struct{ urls, prefix string }

func (b stream) open(t *testing.T, becomes bool) movable {
	t.Helper()
	s, err := nats.Open(t.Context(), b.urls, &nats.Options{Prefix: b.prefix, Replicas: 1, Import: becomes, Unserved: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t *testing.T, s movable) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCopy copies stores with random content from a disk to a broker and back to a disk,
// with faults in between, and compares their contents, and how producers and cursors
// continue.
func TestCopy(t *testing.T) {
	seed := testrand.Seed(t)
	urls := brokertest.URLs(brokertest.Cluster(t, 1, ""))
	for i := range testrand.Many(10) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		places := []place{newDirectory(), stream{urls, fmt.Sprintf("s%d", i)}, newDirectory(), newDirectory()}
		s := places[0].open(t, false)
		fill(t, r, s)
		want := holdings(t, s)
		closed(t, s)
		for n := range places[1:] {
			move(t, r, places[n], places[n+1])
			s := places[n+1].open(t, false)
			got := holdings(t, s)
			_, inStream := places[n+1].(stream)
			if inStream { // a broker assigns its own times, which a copy from there has, too
				want.times = got.times
			}
			differ(t, want, got)
			closed(t, s)
		}
		last := places[len(places)-1].open(t, false)
		goOn(t, last, want)
		closed(t, last)
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
	}
}

// move copies a store, with faults at random moments.
func move(t *testing.T, r *rand.Rand, from, to place) {
	t.Helper()
	for faults := r.IntN(6); ; faults-- {
		source, target := from.open(t, false), to.open(t, true)
		var err error
		var report storecopy.Report
		if faults > 0 {
			report, err = storecopy.Copy(t.Context(), source, &flaky{Target: target, left: r.IntN(8), late: r.IntN(2) == 0}, nil)
		} else {
			report, err = storecopy.Copy(t.Context(), source, target, nil)
		}
		closed(t, source)
		closed(t, target)
		if err != nil && !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		if err == nil && !report.Already {
			break
		}
		if report.Already { // the fault came after the last step
			break
		}
	}
}

// A flaky store fails after some steps, with or without having made the last one.
type flaky struct {
	storecopy.Target

	left int
	late bool
}

var errFault = errors.New("fault")

func (f *flaky) Import(ctx context.Context, was, to store.Copied, what store.Import) error {
	if f.left--; f.left >= 0 {
		return f.Target.Import(ctx, was, to, what)
	}
	if f.late && f.left == -1 {
		if err := f.Target.Import(ctx, was, to, what); err != nil {
			return err
		}
	} else if n := len(what.Blocks); n > 1 && f.left == -1 { // a part of the step
		if err := f.Target.Import(ctx, was, store.Copied{Source: to.Source, Next: what.Blocks[n/2].Next}, store.Import{Blocks: what.Blocks[:n/2+1]}); err != nil {
			return err
		}
	}
	return errFault
}

var topics = []string{"a", "b.c", "b.d", "gone", "_notes"}

// fill fills a store with random content.
func fill(t *testing.T, r *rand.Rand, s movable) {
	t.Helper()
	ctx := t.Context()
	positions := []store.Position{{}}
	type writer struct {
		p           store.Producer
		epoch, next uint64
	}
	var writers []*writer
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 60 + r.IntN(200) {
		switch r.IntN(12) {
		case 0: // a producer
			p := store.Producer{Principal: []string{"p", "q", store.Anonymous}[r.IntN(3)], Topic: topics[r.IntN(4)], Name: fmt.Sprintf("n%d", r.IntN(20))}
			c, err := s.Claim(ctx, p, store.ClaimRequest{First: 1 + r.Uint64N(5), AcceptLost: true, Expire: time.Duration(1+r.IntN(9)) * time.Hour})
			check(err)
			writers = slices.DeleteFunc(writers, func(w *writer) bool { return w.p == p })
			writers = append(writers, &writer{p, c.Epoch, c.Next})
		case 1: // one with gaps in its numbers
			if len(writers) > 0 {
				w := writers[r.IntN(len(writers))]
				c, err := s.Claim(ctx, w.p, store.ClaimRequest{Attempt: r.Uint64N(2) * uint64(time.Now().UnixNano()), Acked: w.next + r.Uint64N(3), AcceptLost: true})
				check(err)
				w.epoch, w.next = c.Epoch, c.Next
			}
		case 2: // one that is forgotten
			if len(writers) > 0 && r.IntN(3) == 0 {
				i := r.IntN(len(writers))
				check(s.Forget(ctx, writers[i].p))
				writers = slices.Delete(writers, i, i+1)
			}
		case 3:
			check(s.Trim(ctx, topics[r.IntN(len(topics))], positions[r.IntN(len(positions))]))
		case 4:
			check(s.Reset(ctx, store.CursorName{Principal: "p", Name: fmt.Sprintf("c%d", r.IntN(30)), Subscription: "a,b.*"}, positions[r.IntN(len(positions))]))
		case 5, 6:
			b := block(r, topics[r.IntN(len(topics))])
			result := s.Append(ctx, b)[0]
			check(result.Err)
			positions = append(positions, result.Position, store.Position{Tag: result.Position.Tag, Block: result.Position.Block, Index: uint32(r.IntN(len(b.Lengths) + 1))})
		default:
			if len(writers) == 0 {
				continue
			}
			w := writers[r.IntN(len(writers))]
			b := block(r, w.p.Topic)
			b.Principal, b.Producer, b.Epoch, b.First = w.p.Principal, w.p, w.epoch, w.next
			if r.IntN(2) == 0 {
				b.Note = fmt.Appendf(nil, "note %d", r.IntN(100))
			}
			if r.IntN(3) == 0 {
				b.Topic = store.Rejected
				for i := range b.Lengths {
					b.Rejected = append(b.Rejected, store.Rejection{Number: b.First + uint64(i), Code: "invalid", Text: fmt.Sprint(r.IntN(2))})
				}
			}
			result := s.Append(ctx, b)[0]
			check(result.Err)
			w.next += uint64(len(b.Lengths))
			positions = append(positions, result.Position, store.Position{Tag: result.Position.Tag, Block: result.Position.Block, Index: uint32(r.IntN(len(b.Lengths) + 1))})
		}
	}
	head, err := s.Head(ctx)
	check(err)
	check(s.Trim(ctx, "gone", head))
	check(s.Reset(ctx, store.CursorName{Name: "head"}, head))
}

// block returns random records for a topic.
func block(r *rand.Rand, topic string) *store.Block {
	b := &store.Block{Topic: topic, Codec: []string{"json", "cbor"}[r.IntN(2)], Peer: "[::1]:4711", Extended: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		b.Received = time.Unix(1.7e9+r.Int64N(1e6), r.Int64N(1e9)).UTC()
	}
	for range 1 + r.IntN(5) {
		b.Add(fmt.Appendf(nil, `{"n":%d,"text":%q}`, r.IntN(1e9), strings.Repeat("x", r.IntN(300))))
		b.AddTime([]int64{store.UnknownTime, r.Int64()}[r.IntN(2)])
	}
	return b
}

// A held is the contents of a store, without its positions.
type held struct {
	blocks    []string
	times     []time.Time
	topics    []string
	producers map[store.Producer]string
	next      map[store.Producer]uint64
	cursors   map[store.CursorName]string
}

func holdings(t *testing.T, s movable) (h held) {
	t.Helper()
	ctx := t.Context()
	h.producers, h.next, h.cursors = map[store.Producer]string{}, map[store.Producer]uint64{}, map[store.CursorName]string{}
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block != nil {
			h.blocks, h.times = append(h.blocks, string(b.Block.AppendEncoded(nil, nil))), append(h.times, b.Time.UTC())
		}
	}
	all, err := s.Topics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		h.topics = append(h.topics, fmt.Sprint(a.Name, a.Blocks, a.Records, a.Bytes))
	}
	for p, err := range s.Saved(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(p.Attempt, p.Next, p.GivenUp, string(p.Note), p.Seen.UnixNano(), p.Expire)
		for r, err := range s.Rejections(ctx, p.Producer, 0) {
			text += fmt.Sprint(r, err)
		}
		h.producers[p.Producer], h.next[p.Producer] = text, p.Next
	}
	cursors, err := s.Cursors(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cursors {
		h.cursors[c.CursorName] = fmt.Sprint(c.Saved.UnixNano(), from(t, s, c.Position))
	}
	return h
}

// from returns what a reader gets and is told from a position on.
func from(t *testing.T, s movable, p store.Position) string {
	t.Helper()
	var trims []string
	var text bytes.Buffer
	for b, err := range s.Read(t.Context(), p, store.ReadOptions{}) {
		var trim *store.TrimmedError
		switch {
		case errors.As(err, &trim):
			trims = append(trims, trim.Topic)
		case err != nil:
			t.Fatal(err)
		case b.Block != nil:
			for _, record := range b.Block.Records(b.At.Index) {
				fmt.Fprintf(&text, "%s %s\n", b.Block.Topic, record)
			}
		}
	}
	slices.Sort(trims)
	return fmt.Sprint(trims, text.String())
}

// differ describes the difference between the contents of two stores.
func differ(t *testing.T, want, got held) {
	t.Helper()
	if !slices.Equal(want.blocks, got.blocks) {
		t.Errorf("%d blocks, want %d that are the same", len(got.blocks), len(want.blocks))
	}
	for i, at := range got.times {
		if i < len(want.times) && !at.Equal(want.times[i]) {
			t.Errorf("the time of block %d of %d is %v, want %v", i, len(got.times), at, want.times[i])
			break
		}
	}
	if !slices.Equal(want.topics, got.topics) {
		t.Errorf("topics %q, want %q", got.topics, want.topics)
	}
	same(t, "producer", want.producers, got.producers)
	same(t, "cursor", want.cursors, got.cursors)
}

func same[K comparable](t *testing.T, what string, want, got map[K]string) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d %ss, want %d", len(got), what, len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s %v: %.500s\nwant %.500s", what, k, got[k], v)
		}
	}
}

// goOn lets all producers continue.
func goOn(t *testing.T, s movable, h held) {
	t.Helper()
	ctx := t.Context()
	for p, next := range h.next {
		c, err := s.Claim(ctx, p, store.ClaimRequest{Acked: next - 1})
		if err != nil || c.Next != next || c.New {
			t.Errorf("%v: %+v, %v, want number %d", p, c, err, next)
			continue
		}
		b := &store.Block{Topic: p.Topic, Codec: "json", Principal: p.Principal, Producer: p, Epoch: c.Epoch, First: next}
		b.Add([]byte("{}"))
		if r := s.Append(ctx, b)[0]; r.Err != nil {
			t.Errorf("%v: %v", p, r.Err)
		}
	}
}
