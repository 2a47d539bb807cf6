package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

func testRead(t *testing.T, d Driver) {
	s := d.Open(t)
	if r := readAll(t, s, store.Position{}, store.ReadOptions{}); len(r.records) != 0 || r.err != nil || r.next.IsZero() {
		t.Fatalf("an empty store: %+v", r)
	}
	w, _ := claim(t, s, producer("orders", "a"), store.ClaimRequest{})
	var want []string
	for i := range 50 {
		w.append(t, i%7+1)
	}
	for i := uint64(1); i < w.next; i++ {
		want = append(want, string(record(w.p, i)))
	}
	all := readAll(t, s, store.Position{}, store.ReadOptions{})
	if !slices.Equal(all.records, want) {
		t.Fatalf("read %d records, want %d", len(all.records), len(want))
	}
	if head, err := s.Head(t.Context()); err != nil || head != all.next {
		t.Fatalf("Head: %v, %v, want %v", head, err, all.next)
	}
	for i, at := range all.at { // from each record on, those behind it in its block as well
		if r := readAll(t, s, at, store.ReadOptions{}); !slices.Equal(r.records, want[i:]) {
			t.Fatalf("from %v: %d records, want %d", at, len(r.records), len(want)-i)
		}
	}
	for b, err := range s.Read(t.Context(), all.at[0], store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		got := b.Block.Clone()
		if want := w.block(1, 1); !reflect.DeepEqual(got, want) {
			t.Fatalf("the block is\n%+v, want\n%+v", got, want)
		}
		break
	}
	// All that a block tells comes back.
	rejected := w.block(w.next, 2)
	rejected.Topic = store.Rejected
	for i := range uint64(2) {
		rejected.Rejected = append(rejected.Rejected, store.Rejection{Number: w.next + i, Code: "schema", Text: "no"})
	}
	rejected.Times = []int64{1e18, store.UnknownTime}
	rejected.Extended = true
	unnumbered := loose("orders", `{}`)
	unnumbered.Principal = "somebody"
	for _, b := range []*store.Block{rejected, unnumbered} {
		result := s.Append(t.Context(), b)[0]
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		for got, err := range s.Read(t.Context(), result.Position, store.ReadOptions{Topics: []string{b.Topic}}) {
			if err != nil || !reflect.DeepEqual(got.Block.Clone(), b.Clone()) {
				t.Fatalf("the block is\n%+v (%v), want\n%+v", got.Block, err, b)
			}
			break
		}
	}
}

func testFilter(t *testing.T, d Driver) {
	s := d.Open(t)
	topics := []string{"a", "a.b", "a.b.c", "ab", "_rejected", "z"}
	var writers []*writer
	for _, topic := range topics {
		w, _ := claim(t, s, producer(topic, topic+"-1"), store.ClaimRequest{})
		writers = append(writers, w)
	}
	for range 20 {
		for _, w := range writers {
			w.append(t, 2)
		}
	}
	for _, c := range []struct {
		patterns, topics []string
	}{
		{nil, topics},
		{[]string{"*"}, []string{"a", "a.b", "a.b.c", "ab", "z"}},
		{[]string{"a"}, []string{"a"}},
		{[]string{"a.*"}, []string{"a.b", "a.b.c"}},
		{[]string{"a", "z"}, []string{"a", "z"}},
		{[]string{"_rejected"}, []string{"_rejected"}},
		{[]string{"none"}, nil},
	} {
		r := readAll(t, s, store.Position{}, store.ReadOptions{Topics: c.patterns})
		var want []string
		for i := range uint64(20) {
			for _, w := range writers {
				if slices.Contains(c.topics, w.p.Topic) {
					want = append(want, string(record(w.p, 2*i+1)), string(record(w.p, 2*i+2)))
				}
			}
		}
		if !slices.Equal(r.records, want) || r.err != nil {
			t.Errorf("%q: read %d records, want %d (%v)", c.patterns, len(r.records), len(want), r.err)
		}
	}
	r := readAll(t, s, store.Position{}, store.ReadOptions{Producer: writers[1].p})
	if len(r.records) != 40 || r.records[39] != string(record(writers[1].p, 40)) {
		t.Errorf("of one producer: %d records, want 40", len(r.records))
	}
	if r := readAll(t, s, store.Position{}, store.ReadOptions{Topics: []string{"a..b"}}); r.err == nil {
		t.Error("a bad pattern was taken")
	}
}

func testFollow(t *testing.T, d Driver) {
	s := d.Open(t)
	for _, topics := range [][]string{nil, {"a"}, {"a", "a.*"}, {"*"}} {
		ctx, cancel := context.WithCancel(t.Context())
		from, err := s.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		caught, got := make(chan store.Position, 100), make(chan string, 100)
		ended := make(chan error, 1)
		go func() {
			for b, err := range s.Read(ctx, from, store.ReadOptions{Topics: topics, Follow: true, Progress: time.Hour}) {
				switch {
				case err != nil:
					ended <- err
				case b.Block == nil:
					caught <- b.Next
				default:
					got <- string(b.Block.Data)
				}
			}
			close(ended)
		}()
		if at := <-caught; at != from {
			t.Fatalf("caught up at %v, want %v", at, from)
		}
		for i := range 10 {
			text := fmt.Sprintf(`{"n":%d}`, i)
			appendLoose(t, s, "a", text)
			if g := <-got; g != text {
				t.Fatalf("got %s, want %s", g, text)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("the read ended with %v", err)
		}
	}
	// What others write is progress, in time.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := store.Position{}
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{Topics: []string{"none"}, Follow: true, Progress: time.Millisecond}) {
		if err != nil {
			t.Fatal(err)
		}
		if !next.IsZero() && b.Next.Compare(next) > 0 {
			break
		}
		if next.IsZero() {
			next = b.Next
			appendLoose(t, s, "other", `{}`)
		}
	}
}

// What a store alerts to can be read at once.
func testAlert(t *testing.T, d Driver) {
	s := d.Open(t)
	a, ok := s.(store.Alerter)
	if !ok {
		return
	}
	alerts := make(chan struct{}, 100)
	stop := a.Alert([]string{"a", "b.*"}, func() { alerts <- struct{}{} })
	for _, topic := range []string{"a", "b.c"} {
		from, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			select {
			case <-alerts:
			case <-time.After(10 * time.Second):
				t.Errorf("no alert of %s", topic)
				return
			}
			found := false
			for b, err := range s.Read(t.Context(), from, store.ReadOptions{Topics: []string{topic}}) {
				found = found || err == nil && b.Block != nil
			}
			if !found {
				t.Errorf("after an alert, nothing of %s can be read", topic)
			}
		}()
		appendLoose(t, s, topic, `{}`)
		<-done
	}
	stop()
	appendLoose(t, s, "a", `{}`)
	if len(alerts) > 0 {
		t.Error("an alert after its end")
	}
}

func testPositions(t *testing.T, d Driver) {
	s, other := d.Open(t), d.Open(t)
	at := appendLoose(t, s, "a", `{}`)
	appendLoose(t, other, "a", `{}`)
	if p, err := store.ParsePosition(at.String()); err != nil || p != at {
		t.Fatalf("ParsePosition(%v): %v, %v", at, p, err)
	}
	head, _ := s.Head(t.Context())
	beyond := head
	beyond.Block++
	name := store.CursorName{Name: "c", Subscription: "a"}
	epoch := claimCursor(t, s, name, store.CursorRequest{From: at}).Epoch
	for _, p := range []store.Position{{}, at, head} {
		if err := s.CheckPosition(t.Context(), p); err != nil {
			t.Fatalf("CheckPosition(%v): %v", p, err)
		}
	}
	for _, p := range []store.Position{beyond, {Tag: "nobody", Block: 1}} {
		wantErr(t, "CheckPosition", s.CheckPosition(t.Context(), p), store.ErrPosition)
		_, err := s.ClaimCursor(t.Context(), store.CursorName{Name: "d", Subscription: "a"}, store.CursorRequest{From: p})
		wantErr(t, "ClaimCursor", err, store.ErrPosition)
		wantErr(t, "Reset", s.Reset(t.Context(), name, p), store.ErrPosition)
		r := readAll(t, s, p, store.ReadOptions{})
		wantErr(t, "Read", r.err, store.ErrPosition)
		wantErr(t, "Commit", s.Commit(t.Context(), name, epoch, p), store.ErrPosition)
		wantErr(t, "Trim", s.Trim(t.Context(), "a", p), store.ErrPosition)
	}
	wantErr(t, "Read of another store's", readAll(t, other, at, store.ReadOptions{}).err, store.ErrPosition)
	if r := readAll(t, s, head, store.ReadOptions{}); r.err != nil || len(r.records) > 0 {
		t.Fatalf("from the head: %+v", r)
	}
}

func testTrim(t *testing.T, d Driver) {
	s := d.Open(t)
	var at []store.Position
	for i := range 40 {
		at = append(at, appendLoose(t, s, []string{"a", "b"}[i%2], fmt.Sprintf(`{"n":%d}`, i)))
	}
	trim := func(topic string, p store.Position) {
		t.Helper()
		if err := s.Trim(t.Context(), topic, p); err != nil {
			t.Fatal(err)
		}
	}
	check := func(from store.Position, topics []string, records, trims int) {
		t.Helper()
		r := readAll(t, s, from, store.ReadOptions{Topics: topics})
		if r.err != nil || len(r.records) != records || len(r.trims) != trims {
			t.Fatalf("%v from %v: %d records, trims %v, error %v; want %d records, %d trims", topics, from, len(r.records), r.trims, r.err, records, trims)
		}
		for _, e := range r.trims {
			if e.From.Compare(from) < 0 || e.To.Compare(at[19]) > 0 {
				t.Fatalf("trimmed from %v to %v", e.From, e.To)
			}
		}
	}
	trim("none", at[10])
	check(at[0], nil, 40, 0)
	trim("a", at[19]) // 0, 2 … 18
	check(store.Position{}, nil, 30, 0)
	check(at[0], nil, 30, 1)
	check(at[0], []string{"a"}, 10, 1)
	check(at[0], []string{"b"}, 20, 0)
	check(at[0], []string{"a", "b"}, 30, 1)
	check(at[19], nil, 21, 0)
	trim("a", at[5]) // goes not back
	check(at[0], []string{"a"}, 10, 1)
	stats, err := s.Topics(t.Context())
	if err != nil || len(stats) != 2 {
		t.Fatalf("Topics: %+v, %v", stats, err)
	}
	if a := stats[0]; a.Name != "a" || a.Blocks != 10 || a.Records != 10 || a.Bytes != 80 || a.First != at[20] || a.Next.Compare(at[38]) <= 0 || a.Next.Compare(at[39]) > 0 {
		t.Fatalf("Topics: %+v", a)
	}
	for want, patterns := range map[string][]string{
		"a": {"a", "a", "none"}, "b": {"b"}, "ab": {"b", "a"}, "a+": {"a", "none.*"}, "ab+": {"*"}, "": {"none"}, "+": {"a.*"},
	} {
		some, err := s.Topics(t.Context(), patterns...)
		got := ""
		for _, stat := range some {
			got += stat.Name
			if stat != stats[strings.Index("ab", stat.Name)] {
				t.Errorf("Topics(%q): %+v", patterns, stat)
			}
		}
		if want = strings.TrimSuffix(want, "+"); err != nil || got != want {
			t.Errorf("Topics(%q): %q, %v, want %q", patterns, got, err, want)
		}
	}
	head, _ := s.Head(t.Context())
	trim("a", head)
	trim("b", head)
	if d.Reopen != nil {
		s = d.Reopen(t, s)
	}
	if h, err := s.Head(t.Context()); err != nil || h != head {
		t.Fatalf("Head: %v, %v, want %v", h, err, head)
	}
	if p := appendLoose(t, s, "a", `{}`); p.Compare(head) < 0 {
		t.Fatalf("position %v is used again, the head was %v", p, head)
	}
	if r := readAll(t, s, at[0], store.ReadOptions{}); len(r.records) != 1 || len(r.trims) != 2 {
		t.Fatalf("%+v", r)
	}
}

// testOvertaken trims what a reader is about to read: the reader is told, and reads
// everything that is left.
func testOvertaken(t *testing.T, d Driver) {
	for _, topics := range [][]string{nil, {"a"}, {"*"}, {"a", "b"}} {
		for trimAt := range 4 {
			s := d.Open(t)
			var at []store.Position
			for i := range 40 {
				at = append(at, appendLoose(t, s, []string{"a", "b"}[i%2], fmt.Sprintf(`{"n":%d}`, i)))
			}
			got := map[store.Position]int{}
			var last store.Position
			for b, err := range s.Read(t.Context(), at[0], store.ReadOptions{Topics: topics}) {
				var trimmed *store.TrimmedError
				switch {
				case errors.As(err, &trimmed):
					for _, p := range at {
						if trimmed.From.Compare(p) <= 0 && p.Compare(trimmed.To) < 0 && got[p] == 0 {
							got[p] = -1
						}
					}
					if trimmed.Topic != "a" || trimmed.To.Compare(at[24]) > 0 {
						t.Errorf("%v: %v", topics, err)
					}
				case err != nil:
					t.Fatal(err)
				case b.Block != nil:
					if b.At.Compare(last) <= 0 {
						t.Errorf("%v: %v after %v", topics, b.At, last)
					}
					last = b.At
					if got[b.At] = 1; len(got) == 1+2*trimAt {
						if err := s.Trim(t.Context(), "a", at[24]); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			for i, p := range at {
				wanted := i%2 == 0 || !slices.Equal(topics, []string{"a"})
				if left := i%2 == 1 || i >= 24; wanted && (got[p] == 0 || left && got[p] < 0) {
					t.Errorf("%v, trimmed after %d: block %d was not read", topics, 2*trimAt, i)
				}
			}
		}
	}
}

func testSeek(t *testing.T, d Driver) {
	s := d.Open(t)
	for i := range 20 {
		appendLoose(t, s, []string{"a", "b"}[i%2], `{}`)
	}
	var at []store.Position
	var times []time.Time
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block != nil {
			at, times = append(at, b.At), append(times, b.Time)
		}
	}
	head, _ := s.Head(t.Context())
	seek := func(to time.Time) {
		t.Helper()
		want := head
		if i := slices.IndexFunc(times, func(stored time.Time) bool { return !stored.Before(to) }); i >= 0 {
			want = at[i]
		}
		if p, err := s.Seek(t.Context(), to); err != nil || p != want {
			t.Errorf("Seek(%v): %v, %v, want %v", to, p, err, want)
		}
	}
	seek(time.Unix(0, 0))
	seek(times[len(times)-1].Add(1000 * time.Hour))
	for _, stored := range times {
		seek(stored.Add(-1))
		seek(stored)
		seek(stored.Add(1))
	}
}

// Close tests the end of a store that can be closed: for drivers whose stores
// belong to one process.
func Close(t *testing.T, s interface {
	store.Store
	Close() error
},
) {
	w, _ := claim(t, s, producer("a", "x"), store.ClaimRequest{})
	w.append(t, 1)
	name := store.CursorName{Name: "c", Subscription: "a"}
	cursor := claimCursor(t, s, name, store.CursorRequest{})
	ended := make(chan error, 1)
	caught := make(chan bool, 10)
	go func() {
		var last error
		for _, err := range s.Read(context.Background(), store.Position{}, store.ReadOptions{Follow: true, Progress: time.Hour}) {
			last = err
			caught <- true
		}
		ended <- last
	}()
	<-caught
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the read", <-ended, store.ErrUnavailable)
	wantErr(t, "Append", s.Append(t.Context(), w.block(2, 1))[0].Err, store.ErrUnavailable)
	_, err := s.Claim(t.Context(), w.p, store.ClaimRequest{})
	wantErr(t, "Claim", err, store.ErrUnavailable)
	_, err = s.ClaimCursor(t.Context(), name, store.CursorRequest{})
	wantErr(t, "ClaimCursor", err, store.ErrUnavailable)
	_, err = s.Head(t.Context())
	wantErr(t, "Head", err, store.ErrUnavailable)
	wantErr(t, "CheckPosition", s.CheckPosition(t.Context(), store.Position{}), store.ErrUnavailable)
	wantErr(t, "Ready", s.Ready(t.Context()), store.ErrUnavailable)
	wantErr(t, "Commit", s.Commit(t.Context(), name, cursor.Epoch, store.Position{}), store.ErrUnavailable)
	s.Release(w.p, w.epoch)
	s.ReleaseCursor(name, cursor.Epoch)
}

func testReopen(t *testing.T, d Driver) {
	if d.Reopen == nil {
		return // nothing is promised
	}
	s := d.Open(t)
	w, _ := claim(t, s, producer("a", "x"), store.ClaimRequest{Attempt: 7})
	var records []string
	name := store.CursorName{Principal: "p", Name: "c", Subscription: "a"}
	var epochs []uint64
	for round := range 4 {
		for i := range 30 {
			if i%3 == 0 {
				appendLoose(t, s, "b", `{}`)
			}
			n := 1 + i%4
			for j := range n {
				records = append(records, string(record(w.p, w.next+uint64(j))))
			}
			w.append(t, n)
		}
		old := *w
		head, _ := s.Head(t.Context())
		cursor := claimCursor(t, s, name, store.CursorRequest{Attempt: 9 - uint64(round)})
		if err := s.Commit(t.Context(), name, cursor.Epoch, head); err != nil {
			t.Fatal(err)
		}
		s = d.Reopen(t, s)
		wantErr(t, "the old epoch of a cursor", s.Commit(t.Context(), name, cursor.Epoch, head), store.ErrFenced)
		if p, ok, err := s.Cursor(t.Context(), name); err != nil || !ok || p != head {
			t.Fatalf("Cursor: %v, %v, %v, want %v", p, ok, err, head)
		}
		r := readAll(t, s, store.Position{}, store.ReadOptions{Topics: []string{"a"}})
		if !slices.Equal(r.records, records) || r.err != nil {
			t.Fatalf("round %d: %d records, want %d (%v)", round, len(r.records), len(records), r.err)
		}
		_, err := s.Claim(t.Context(), w.p, store.ClaimRequest{Attempt: 6})
		wantErr(t, "an old attempt", err, store.ErrStale)
		var c store.Claim
		w, c = claim(t, s, w.p, store.ClaimRequest{Attempt: 7, Acked: old.next - 1})
		if c.Next != old.next || string(c.Note) != fmt.Sprintf("note %d", old.next-1) || slices.Contains(epochs, c.Epoch) {
			t.Fatalf("Claim: %+v, want next %d (epochs %v)", c, old.next, epochs)
		}
		epochs = append(epochs, c.Epoch)
		old.s = s
		wantErr(t, "the old epoch", s.Append(t.Context(), old.block(old.next, 1))[0].Err, store.ErrFenced)
	}
}
