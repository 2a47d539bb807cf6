package nats_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
)

var reclaims = flag.Int("reclaims", 2000, "how often one producer is claimed in TestReclaims")

// recovers is how soon after a fault everything must work again.
const recovers = 30 * time.Second

// An author is a producer with one session after another, on any of several stores.
type author struct {
	p       store.Producer
	attempt uint64
	acked   uint64
	lost    int // how often it was told that records were lost
}

// bad reports whether a record is rejected.
func bad(n uint64) bool { return n%5 == 0 }

func text(n uint64) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

// blocks returns records as blocks. Rejected records are in blocks of their own.
func (a *author) blocks(epoch, from, to uint64) (all []*store.Block) {
	for n := from; n < to; n++ {
		topic := a.p.Topic
		if bad(n) {
			topic = store.Rejected
		}
		if len(all) == 0 || all[len(all)-1].Topic != topic {
			all = append(all, &store.Block{Topic: topic, Codec: "json", Principal: a.p.Principal, Producer: a.p, Epoch: epoch, First: n})
		}
		b := all[len(all)-1]
		if b.Add(text(n)); bad(n) {
			b.Rejected = append(b.Rejected, store.Rejection{Number: n, Code: "schema", Text: string(text(n))})
		}
	}
	return all
}

// session appends the records before to, with pauses, until the store ends the session.
func (a *author) session(ctx context.Context, s store.Store, to uint64, pause time.Duration) error {
	a.attempt++
	c, err := s.Claim(ctx, a.p, store.ClaimRequest{Attempt: a.attempt, Acked: a.acked, First: a.acked + 1})
	switch {
	case errors.As(err, new(*store.LostError)):
		a.lost++
		return err
	case errors.Is(err, store.ErrUnavailable):
		return nil
	case err != nil:
		return fmt.Errorf("%s: Claim: %w", a.p.Name, err)
	}
	defer s.Release(a.p, c.Epoch)
	if c.Next <= a.acked {
		return fmt.Errorf("%s: the next number is %d, with %d acknowledged", a.p.Name, c.Next, a.acked)
	}
	a.acked = c.Next - 1
	for a.acked < to {
		end := min(a.acked+1+rand.Uint64N(16), to) + 1
		for _, r := range s.Append(ctx, a.blocks(c.Epoch, a.acked+1, end)...) {
			switch {
			case r.Err == nil || errors.Is(r.Err, store.ErrDuplicate):
			case errors.Is(r.Err, store.ErrUnavailable), errors.Is(r.Err, store.ErrFenced), errors.As(r.Err, new(*store.SequenceError)):
				return nil
			default:
				return fmt.Errorf("%s: Append: %w", a.p.Name, r.Err)
			}
		}
		a.acked = end - 1
		time.Sleep(pause)
	}
	return nil
}

// write appends the records before to, in sessions on any of the stores.
func (a *author) write(ctx context.Context, stores []store.Store, to uint64, pause time.Duration) error {
	for a.acked < to {
		if err := a.session(ctx, stores[rand.IntN(len(stores))], to, pause); err != nil {
			return err
		}
	}
	return nil
}

// check reads everything: each record is there once and in order, and each rejection is
// reported.
func check(t *testing.T, s store.Store, authors ...*author) {
	t.Helper()
	if err := s.(*nats.Store).CatchUp(t.Context()); err != nil { // another store may have stored it
		t.Fatal(err)
	}
	next := map[store.Producer]uint64{}
	for batch, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		b := batch.Block
		if b == nil {
			continue
		}
		if b.First != next[b.Producer]+1 {
			t.Fatalf("record %d of %s comes after %d", b.First, b.Producer.Name, next[b.Producer])
		}
		for i, r := range b.Records(0) {
			n := b.First + uint64(i)
			next[b.Producer] = n
			if !bytes.Equal(r, text(n)) || bad(n) != (b.Topic == store.Rejected) {
				t.Fatalf("record %d of %s is %q in %s", n, b.Producer.Name, r, b.Topic)
			}
		}
	}
	for _, a := range authors {
		if next[a.p] < a.acked {
			t.Errorf("%d records of %s, with %d acknowledged", next[a.p], a.p.Name, a.acked)
		}
		told := uint64(0)
		for r, err := range s.Rejections(t.Context(), a.p, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if told += 5; r.Number != told || r.Text != string(text(told)) {
				t.Fatalf("the rejection of record %d of %s is %+v", told, a.p.Name, r)
			}
		}
		if next[a.p] <= store.Window && told != next[a.p]/5*5 {
			t.Errorf("rejections of %s are told to record %d, with %d records", a.p.Name, told, next[a.p])
		}
	}
}

// cast returns n authors.
func cast(n int) (all []*author) {
	for i := range n {
		all = append(all, &author{p: store.Producer{Principal: "p", Topic: fmt.Sprint("t", i%3), Name: fmt.Sprint("w", i)}})
	}
	return all
}

// all calls do for all authors in parallel, and fails the test if any call fails.
func all(t *testing.T, authors []*author, do func(*author) error) {
	t.Helper()
	var running sync.WaitGroup
	for _, a := range authors {
		running.Go(func() {
			if err := do(a); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// TestStepdown makes the leader step down every 2 s while authors append to two stores.
func TestStepdown(t *testing.T) {
	if testing.Short() {
		return // the stage cluster runs it
	}
	t.Parallel()
	b := &broker{urls: brokertest.URLs(brokertest.Cluster(t, 3, "")), replicas: 3, options: map[store.Store]*nats.Options{}}
	o := b.fresh()
	stores := []store.Store{b.open(t, o), b.open(t, o)}
	js := admin(t, b.urls)
	authors := cast(8)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var stepping sync.WaitGroup
	downs := 0
	stepping.Go(func() {
		for tick := time.NewTicker(2 * time.Second); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
			if m, err := js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+o.Prefix, nil, time.Second); err == nil && bytes.Contains(m.Data, []byte(`"success":true`)) {
				downs++
			}
		}
	})
	all(t, authors, func(a *author) error {
		for ctx.Err() == nil {
			if err := a.write(t.Context(), stores, a.acked+50, 5*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
	stepping.Wait()
	total := uint64(0)
	for _, a := range authors {
		total += a.acked
	}
	if downs < 5 {
		t.Errorf("the leader stepped down %d times", downs)
	}
	t.Logf("%d times, %d records", downs, total)
	for _, s := range stores {
		check(t, s, authors...)
	}
}

// TestTrimIdle trims everything over and over, on two stores, while some producers are idle
// and others append. All of them continue where they were.
func TestTrimIdle(t *testing.T) {
	b, _ := single(t, "")
	o := b.fresh()
	stores := []store.Store{b.open(t, o), b.open(t, o)}
	authors := cast(40)
	all(t, authors, func(a *author) error { return a.write(t.Context(), stores, 20, 0) })
	idle, busy := authors[:30], authors[30:]
	done := make(chan struct{})
	var trims sync.WaitGroup
	for _, s := range stores {
		trims.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				head, err := s.Head(t.Context())
				for _, topic := range []string{"t0", "t1", "t2", store.Rejected} {
					if err == nil {
						err = s.Trim(t.Context(), topic, head)
					}
				}
				if err != nil {
					t.Errorf("Trim: %v", err)
					return
				}
			}
		})
	}
	all(t, busy, func(a *author) error { return a.write(t.Context(), stores, 300, time.Millisecond) })
	close(done)
	trims.Wait()
	all(t, idle, func(a *author) error { return a.write(t.Context(), stores, 40, 0) })
	for _, a := range authors {
		n := uint64(0)
		for r, err := range stores[0].Rejections(t.Context(), a.p, 0) {
			if n += 5; err != nil || r.Number != n {
				t.Fatalf("the rejection of record %d of %s is %+v, %v", n, a.p.Name, r, err)
			}
		}
		if n != a.acked/5*5 {
			t.Errorf("rejections of %s are told to record %d, with %d records", a.p.Name, n, a.acked)
		}
	}
}

// TestRejections has 60 producers with rejected records in parallel: more batches than the
// broker allows.
func TestRejections(t *testing.T) {
	b, _ := single(t, "")
	o := b.fresh()
	stores := []store.Store{b.open(t, o), b.open(t, o)}
	authors := cast(60)
	all(t, authors, func(a *author) error { return a.write(t.Context(), stores, 200, 0) })
	check(t, stores[1], authors...)
}

// TestAlternations appends 2,000 records at once, every second one rejected, each in its
// own block: more messages than fit in a batch.
func TestAlternations(t *testing.T) {
	b, _ := single(t, "")
	s, ctx := b.open(t, b.fresh()), t.Context()
	p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
	c, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 4000
	var blocks []*store.Block
	for i := uint64(1); i <= n; i++ {
		bl := &store.Block{Topic: "a", Codec: "json", Principal: "p", Producer: p, Epoch: c.Epoch, First: i}
		if i%2 == 0 {
			bl.Topic = store.Rejected
			bl.Rejected = []store.Rejection{{Number: i, Code: "schema", Text: "no"}}
		}
		bl.Add(text(i))
		blocks = append(blocks, bl)
	}
	var last store.Position
	for i, r := range s.Append(ctx, blocks...) {
		if r.Err != nil {
			t.Fatalf("block %d: %v", i, r.Err)
		}
		if r.Position.Compare(last) <= 0 {
			t.Fatalf("block %d is at %v, after %v", i, r.Position, last)
		}
		last = r.Position
	}
	next := uint64(1)
	for batch, err := range s.Read(ctx, store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch.Block != nil {
			if batch.Block.First != next || !bytes.Equal(batch.Block.Data, text(next)) {
				t.Fatalf("record %d after %d", batch.Block.First, next-1)
			}
			next++
		}
	}
	if next != n+1 {
		t.Fatalf("%d records, want %d", next-1, n)
	}
	told := uint64(0)
	for r, err := range s.Rejections(ctx, p, 0) {
		if told += 2; err != nil || r.Number != told {
			t.Fatalf("the rejection of record %d is %+v, %v", told, r, err)
		}
	}
	if told != n {
		t.Errorf("rejections to %d are told, want %d", told, n)
	}
}

// TestPayloadLowered lowers the broker's max_payload under an open store. After a restart
// of the node, the store continues with smaller messages. Without a restart, the broker
// does not announce the change and closes the connection at the first message that is too
// large: the store ends with an error, and the next one continues.
func TestPayloadLowered(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart=", restart), func(t *testing.T) {
			nodes := brokertest.Cluster(t, 1, "max_payload: 1048576")
			b := &broker{urls: brokertest.URLs(nodes), replicas: 1, options: map[store.Store]*nats.Options{}}
			o, gone := b.ending()
			s := b.open(t, o)
			p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
			record := make([]byte, 700<<10)
			for i := range record {
				record[i] = byte(rand.Uint32())
			}
			next := uint64(1)
			appendRecords(t, s, p, record, &next, 3)
			nodes[0].Configure("max_payload: 100000")
			if restart {
				nodes[0].Stop()
				nodes[0].Start()
			} else {
				for begin := time.Now(); !errors.Is(appendRecord(t, s, p, record, &next), store.ErrUnavailable); {
					if time.Since(begin) > recovers { // the signal may take effect late
						t.Fatal("the broker takes what is too large")
					}
				}
				ended(t, gone)
				s = b.open(t, o)
			}
			appendRecords(t, s, p, record, &next, next+3)
			n := uint64(0)
			for batch, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				if batch.Block != nil {
					if n++; batch.Block.First != n || !bytes.Equal(batch.Block.Data, record) {
						t.Fatalf("block %d is another one", n)
					}
				}
			}
			if n != next-1 {
				t.Fatalf("%d blocks, want %d", n, next-1)
			}
		})
	}
}

// appendRecord claims a producer and appends one record.
func appendRecord(t *testing.T, s store.Store, p store.Producer, record []byte, next *uint64) error {
	t.Helper()
	c, err := s.Claim(t.Context(), p, store.ClaimRequest{Acked: *next - 1})
	if err != nil {
		return err
	}
	b := &store.Block{Topic: p.Topic, Codec: "json", Principal: p.Principal, Producer: p, Epoch: c.Epoch, First: c.Next}
	b.Add(record)
	*next = c.Next
	err = s.Append(t.Context(), b)[0].Err
	if err == nil {
		*next++
	}
	return err
}

// appendRecords appends the records before to, and retries while the store is unavailable.
func appendRecords(t *testing.T, s store.Store, p store.Producer, record []byte, next *uint64, to uint64) {
	t.Helper()
	for begin := time.Now(); *next < to; {
		if err := appendRecord(t, s, p, record, next); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("record %d: %v", *next, err)
		}
		if time.Since(begin) > recovers {
			t.Fatalf("record %d is not stored within %v", *next, recovers)
		}
	}
}

// TestReclaims claims a producer over and over without appending. Neither the stream nor
// the store grows.
func TestReclaims(t *testing.T) {
	b, js := single(t, "")
	o := b.fresh()
	stores := []store.Store{b.open(t, o), b.open(t, o)}
	ctx := t.Context()
	a := cast(1)[0]
	if err := a.write(ctx, stores, 20, 0); err != nil {
		t.Fatal(err)
	}
	measure := func() (messages, bytes, heap uint64) {
		stream, err := js.Stream(ctx, o.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		state := stream.CachedInfo().State
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return state.Msgs, state.Bytes, m.HeapAlloc
	}
	messages, size, heap := measure()
	for i := range *reclaims {
		s := stores[i%len(stores)]
		a.attempt++
		c, err := s.Claim(ctx, a.p, store.ClaimRequest{Attempt: a.attempt, Acked: a.acked})
		if err != nil || c.Next != a.acked+1 {
			t.Fatalf("Claim %d: %+v, %v", i, c, err)
		}
	}
	var after, long, memory uint64
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) { // superseded messages are deleted eventually
		if after, long, memory = measure(); after <= messages+20 || time.Since(begin) > 10*time.Second {
			break
		}
	}
	t.Logf("%d claims: from %d to %d messages, %d to %d bytes; %d to %d bytes of memory", *reclaims, messages, after, size, long, heap, memory)
	if after > messages+20 {
		t.Errorf("%d claims leave %d messages", *reclaims, after-messages)
	}
	if memory > heap+8<<20 {
		t.Errorf("%d claims leave %d bytes of memory", *reclaims, memory-heap)
	}
	if err := a.write(ctx, stores, 40, 0); err != nil {
		t.Fatal(err)
	}
	check(t, stores[0], a)
}

// admin returns a JetStream client for administration.
func admin(t *testing.T, urls string) jetstream.JetStream {
	t.Helper()
	nc, err := client.Connect(urls, client.MaxReconnects(-1), client.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// ending returns options of a new store, and a channel that receives the error with which
// it ends.
func (b *broker) ending() (*nats.Options, chan error) {
	gone := make(chan error, 1)
	o := b.fresh()
	o.Fatal = func(err error) { gone <- err }
	return o, gone
}

func ended(t *testing.T, gone chan error) {
	t.Helper()
	select {
	case err := <-gone:
		t.Log(err)
	case <-time.After(recovers):
		t.Fatal("the store goes on")
	}
}

// TestWiped deletes the directory of a single node. The store ends, and the next one
// refuses positions and tells producers that records are lost.
func TestWiped(t *testing.T) {
	t.Parallel()
	nodes := brokertest.Cluster(t, 1, "")
	b := &broker{urls: brokertest.URLs(nodes), replicas: 1, options: map[store.Store]*nats.Options{}}
	o, gone, _, a, head := b.written(t)
	nodes[0].Kill()
	if err := os.RemoveAll(nodes[0].Dir()); err != nil {
		t.Fatal(err)
	}
	nodes[0].Start()
	ended(t, gone)
	behind(t, b.open(t, o), a, head)
}

// behind checks that a store which has less than was acknowledged says so.
func behind(t *testing.T, s store.Store, a *author, head store.Position) {
	t.Helper()
	if err := s.CheckPosition(t.Context(), head); !errors.Is(err, store.ErrPosition) {
		t.Errorf("a position that is not there any more: %v", err)
	}
	err := a.session(t.Context(), s, a.acked+1, 0)
	if !errors.As(err, new(*store.LostError)) {
		t.Errorf("a producer with more than there is: %v", err)
	}
}

// TestRolledBack returns a single node to an older copy of its directory, as a power
// failure or a restored backup does, with or without new records from another store since.
// Stores that know of later records end with an error.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	for _, more := range []bool{false, true} {
		t.Run(fmt.Sprint("more=", more), func(t *testing.T) {
			nodes := brokertest.Cluster(t, 1, "")
			b := &broker{urls: brokertest.URLs(nodes), replicas: 1, options: map[store.Store]*nats.Options{}}
			o, gone := b.ending()
			s, ctx := b.open(t, o), t.Context()
			a, other := cast(2)[0], cast(2)[1]
			if err := a.write(ctx, []store.Store{s}, 20, 0); err != nil {
				t.Fatal(err)
			}
			was := filepath.Join(t.TempDir(), "copy")
			nodes[0].Stop()
			if err := os.CopyFS(was, os.DirFS(nodes[0].Dir())); err != nil {
				t.Fatal(err)
			}
			nodes[0].Start()
			if err := a.write(ctx, []store.Store{s}, 40, 0); err != nil {
				t.Fatal(err)
			}
			head, err := s.Head(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if more {
				nodes[0].Kill()
			} else {
				nodes[0].Stop()
			}
			if err := os.RemoveAll(nodes[0].Dir()); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(nodes[0].Dir(), os.DirFS(was)); err != nil {
				t.Fatal(err)
			}
			nodes[0].Start()
			next := *o
			next.Fatal = nil
			again := b.open(t, &next)
			if !more {
				behind(t, again, a, head)
			} else if err := other.write(ctx, []store.Store{again}, 400, 0); err != nil { // beyond where it was
				t.Fatal(err)
			}
			ended(t, gone)
			if err := other.write(ctx, []store.Store{again}, 500, 0); err != nil {
				t.Fatal(err)
			}
			check(t, again, other)
		})
	}
}

// TestPurged purges the stream. The store ends, and the next one refuses positions and
// tells producers that records are lost.
func TestPurged(t *testing.T) {
	t.Parallel()
	b, js := single(t, "")
	o, gone := b.ending()
	s, ctx := b.open(t, o), t.Context()
	a, other := cast(2)[0], cast(2)[1]
	if err := a.write(ctx, []store.Store{s}, 20, 0); err != nil {
		t.Fatal(err)
	}
	head, err := s.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, o.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	ended(t, gone)
	again := b.open(t, o)
	behind(t, again, a, head)
	if err := other.write(ctx, []store.Store{again}, 50, 0); err != nil {
		t.Fatal(err)
	}
	check(t, again, other)
}

// What others publish where the store's tag is keeps the next server out, with the remedy.
// A server that has the store open goes on.
func TestForeignMark(t *testing.T) {
	t.Parallel()
	b, js := single(t, "")
	o, ctx := b.fresh(), t.Context()
	s := b.open(t, o)
	if _, err := js.Publish(ctx, o.Prefix+".s", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	var refused *nats.SetupError
	_, err := nats.Open(ctx, b.urls, o)
	if want := "nats stream rmm " + o.Prefix + " "; !errors.As(err, &refused) || !strings.Contains(refused.Hint, want) {
		t.Fatalf("%v; want the hint %q", err, want)
	}
	a := cast(1)[0]
	if err := a.write(ctx, []store.Store{s}, 20, 0); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, o.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	last, err := stream.GetLastMsgForSubject(ctx, o.Prefix+".s")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(refused.Hint, fmt.Sprint(" ", last.Sequence)) {
		t.Errorf("%q, and the message is %d", refused.Hint, last.Sequence)
	}
	if err := stream.DeleteMsg(ctx, last.Sequence); err != nil {
		t.Fatal(err)
	}
	check(t, b.open(t, o), a)
}

// written opens a store that will end, and has an author write to it. It returns both, with
// the store's head.
func (b *broker) written(t *testing.T) (o *nats.Options, gone chan error, s store.Store, a *author, head store.Position) {
	t.Helper()
	o, gone = b.ending()
	s, a = b.open(t, o), cast(1)[0]
	if err := a.write(t.Context(), []store.Store{s}, 20, 0); err != nil {
		t.Fatal(err)
	}
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o, gone, s, a, head
}

// TestRestored deletes the tag, as an operator does after a restore. The store ends. The
// next one has all records and cursors, and refuses old positions.
func TestRestored(t *testing.T) {
	t.Parallel()
	b, js := single(t, "")
	o, gone, s, a, head := b.written(t)
	ctx := t.Context()
	cursor := store.CursorName{Principal: "p", Name: "c"}
	if _, err := s.ClaimCursor(ctx, cursor, store.CursorRequest{From: head}); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, o.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(o.Prefix+".s")); err != nil {
		t.Fatal(err)
	}
	ended(t, gone)
	again := b.open(t, o)
	if err := again.CheckPosition(ctx, head); !errors.Is(err, store.ErrPosition) {
		t.Errorf("a position from before: %v", err)
	}
	c, err := again.ClaimCursor(ctx, cursor, store.CursorRequest{})
	if err != nil || c.Position.Block != head.Block {
		t.Fatalf("the cursor is at %v, %v, and was at %v", c.Position, err, head)
	}
	if err := again.CheckPosition(ctx, c.Position); err != nil {
		t.Errorf("the cursor's position: %v", err)
	}
	if err := a.write(ctx, []store.Store{again}, 40, 0); err != nil {
		t.Fatal(err)
	}
	check(t, again, a)
}

// TestReplaced replaces the stream by another one with the same name and configuration. The
// store ends, and positions of the old stream are refused.
func TestReplaced(t *testing.T) {
	t.Parallel()
	b, js := single(t, "")
	o, gone, _, a, head := b.written(t)
	ctx := t.Context()
	if err := js.DeleteStream(ctx, o.Prefix); err != nil {
		t.Fatal(err)
	}
	next := *o
	next.Fatal = nil
	again := b.open(t, &next)
	ended(t, gone)
	behind(t, again, a, head)
}

// TestFullStream fills the stream to its limit, and then raises the limit.
func TestFullStream(t *testing.T) {
	t.Parallel()
	b, js := single(t, "")
	o := b.fresh()
	o.MaxBytes = 8 << 20
	full(t, b, o, func() {
		stream, err := js.Stream(t.Context(), o.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		c.MaxBytes = 64 << 20
		if _, err := js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	})
}

// full appends until a store is full, calls more to give it room, and appends again.
func full(t *testing.T, b *broker, o *nats.Options, more func()) {
	t.Helper()
	s, ctx := b.open(t, o), t.Context()
	a := cast(1)[0]
	if err := a.write(ctx, []store.Store{s}, 100, 0); err != nil {
		t.Fatal(err)
	}
	filler := &store.Block{Topic: "fill", Codec: "json"}
	record := make([]byte, 256<<10)
	for i := range record {
		record[i] = byte(rand.Uint32())
	}
	filler.Add(record)
	for n := 0; ; n++ {
		err := s.Append(ctx, filler)[0].Err
		if errors.Is(err, store.ErrUnavailable) {
			t.Logf("after %d blocks: %v", n, err)
			break
		}
		if err != nil || n == 1000 {
			t.Fatalf("block %d: %v", n, err)
		}
	}
	c, err := s.Claim(ctx, a.p, store.ClaimRequest{Attempt: 1000, Acked: a.acked})
	if err != nil && !errors.Is(err, store.ErrUnavailable) { // a small message may still fit
		t.Fatalf("Claim: %v", err)
	}
	s.Release(a.p, c.Epoch)
	a.attempt = 1000
	more()
	for begin := time.Now(); s.(*nats.Store).Ready(ctx) != nil; {
		if time.Since(begin) > recovers {
			t.Fatalf("it is not ready within %v", recovers)
		}
	}
	if err := a.write(ctx, []store.Store{s}, 200, 0); err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	for batch, err := range s.Read(ctx, store.Position{}, store.ReadOptions{Producer: a.p}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch.Block != nil {
			if batch.Block.First != next+1 {
				t.Fatalf("record %d comes after %d", batch.Block.First, next)
			}
			next += uint64(len(batch.Block.Lengths))
		}
	}
	if next != 200 {
		t.Errorf("%d records, want 200", next)
	}
}
