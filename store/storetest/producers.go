package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

func testAppend(t *testing.T, d Driver) {
	s := d.Open(t)
	ctx := t.Context()
	w, _ := claim(t, s, producer("a", "x"), store.ClaimRequest{})
	one := func(b *store.Block) error { return s.Append(ctx, b)[0].Err }

	stranger := writer{s: s, p: producer("a", "y"), epoch: w.epoch}
	wantErr(t, "a producer that is not claimed", one(stranger.block(1, 1)), store.ErrFenced)
	var seq *store.SequenceError
	if err := one(w.block(2, 1)); !errors.As(err, &seq) || seq.Want != 1 {
		t.Fatalf("a gap: %v", err)
	}
	w.append(t, 3)
	wantErr(t, "a duplicate", one(w.block(1, 3)), store.ErrDuplicate)
	wantErr(t, "a part of one", one(w.block(2, 1)), store.ErrDuplicate)
	if err := one(w.block(3, 2)); !errors.As(err, &seq) || seq.Want != 4 {
		t.Fatalf("one that is stored in part: %v", err)
	}

	w.append(t, 2)

	// A rejected record takes its number in another topic.
	rejected := w.block(7, 1)
	rejected.Topic = store.Rejected
	rejected.Rejected = []store.Rejection{{Number: 7, Code: "schema", Text: "no"}}
	for _, r := range s.Append(ctx, w.block(6, 1), rejected, w.block(8, 2)) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	r := readAll(t, s, store.Position{}, store.ReadOptions{Producer: w.p})
	for i, rec := range r.records {
		if rec != string(record(w.p, uint64(i)+1)) {
			t.Fatalf("record %d of the producer is %s", i+1, rec)
		}
	}
	if len(r.records) != 9 {
		t.Fatalf("%d records of the producer, want 9", len(r.records))
	}
	wantErr(t, "the rejected one again", one(rejected), store.ErrDuplicate)

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Append(canceled, w.block(10, 1))[0].Err; !errors.Is(err, context.Canceled) {
		t.Fatalf("an append whose context has ended: %v", err)
	}
	if _, c := claim(t, s, w.p, store.ClaimRequest{}); c.Next != 10 {
		t.Fatalf("next is %d, want 10", c.Next)
	}
}

func testClaim(t *testing.T, d Driver) {
	type outcome struct {
		next uint64 // of a claim
		err  error
		lost uint64 // the Next of a *LostError
	}
	for _, c := range []struct {
		name    string
		stored  uint64 // records before; none: the producer is not known
		attempt uint64 // of the claim before
		r       store.ClaimRequest
		want    outcome
	}{
		{"new", 0, 0, store.ClaimRequest{}, outcome{next: 1}},
		{"new, from its oldest record", 0, 0, store.ClaimRequest{First: 9}, outcome{next: 9}},
		{"unknown, with acks", 0, 0, store.ClaimRequest{Acked: 3}, outcome{lost: 1}},
		{"unknown, with acks, accepted", 0, 0, store.ClaimRequest{Acked: 3, AcceptLost: true}, outcome{next: 4}},
		{"unknown, with acks and older records, accepted", 0, 0, store.ClaimRequest{Acked: 3, First: 2, AcceptLost: true}, outcome{next: 2}},
		{"goes on", 5, 0, store.ClaimRequest{Acked: 5}, outcome{next: 6}},
		{"saw fewer acks", 5, 0, store.ClaimRequest{Acked: 2, First: 1}, outcome{next: 6}},
		{"nothing acked", 5, 0, store.ClaimRequest{}, outcome{next: 6}},
		{"acked more than there is", 5, 0, store.ClaimRequest{Acked: 6, First: 1}, outcome{lost: 6}},
		{"has only later records", 5, 0, store.ClaimRequest{First: 7}, outcome{lost: 6}},
		{"acked more, accepted", 5, 0, store.ClaimRequest{Acked: 8, AcceptLost: true}, outcome{next: 9}},
		{"acked more, has older, accepted", 5, 0, store.ClaimRequest{Acked: 8, First: 3, AcceptLost: true}, outcome{next: 6}},
		{"accepts without a loss", 5, 0, store.ClaimRequest{Acked: 4, AcceptLost: true}, outcome{next: 6}},
		{"a lower attempt", 5, 3, store.ClaimRequest{Attempt: 2}, outcome{err: store.ErrStale}},
		{"a lower attempt, lost as well", 5, 3, store.ClaimRequest{Attempt: 2, Acked: 50}, outcome{err: store.ErrStale}},
		{"an equal attempt", 5, 3, store.ClaimRequest{Attempt: 3}, outcome{next: 6}},
		{"a higher attempt", 5, 3, store.ClaimRequest{Attempt: 4}, outcome{next: 6}},
		{"no attempt", 5, 3, store.ClaimRequest{}, outcome{next: 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := d.Open(t)
			p := producer("a", "x")
			var before *writer
			if c.stored > 0 {
				before, _ = claim(t, s, p, store.ClaimRequest{Attempt: c.attempt})
				before.append(t, int(c.stored))
			}
			got, err := s.Claim(t.Context(), p, c.r)
			var lost *store.LostError
			switch {
			case c.want.err != nil:
				wantErr(t, "Claim", err, c.want.err)
			case c.want.lost > 0:
				if !errors.As(err, &lost) || lost.Next != c.want.lost {
					t.Fatalf("Claim: %+v, %v, want a loss behind %d", got, err, c.want.lost)
				}
			case err != nil || got.Next != c.want.next:
				t.Fatalf("Claim: %+v, %v, want next %d", got, err, c.want.next)
			}
			if before == nil {
				return
			}
			if err != nil { // nobody is fenced
				before.append(t, 1)
				return
			}
			note := ""
			if got.Next == before.next {
				note = fmt.Sprintf("note %d", c.stored)
			}
			if string(got.Note) != note || got.New {
				t.Fatalf("Claim: %+v, want note %q", got, note)
			}
			wantErr(t, "the writer before", s.Append(t.Context(), before.block(before.next, 1))[0].Err, store.ErrFenced)
			w := writer{s: s, p: p, epoch: got.Epoch, next: got.Next}
			w.append(t, 2)
		})
	}
}

// testGivenUp lets a writer accept the loss of records. Another writer with such records
// must not take them for settled.
func testGivenUp(t *testing.T, d Driver) {
	s := d.Open(t)
	p := producer("a", "x")
	old, _ := claim(t, s, p, store.ClaimRequest{Attempt: 1})
	old.append(t, 4)
	w, c := claim(t, s, p, store.ClaimRequest{Attempt: 2, Acked: 8, AcceptLost: true})
	if c.Next != 9 || !c.Lost {
		t.Fatalf("Claim: %+v", c)
	}
	want := func(r store.ClaimRequest, next uint64, lost bool) {
		t.Helper()
		c, err := s.Claim(t.Context(), p, r)
		var loss *store.LostError
		switch {
		case !lost && (err != nil || c.Next != next || c.Lost != r.AcceptLost):
			t.Fatalf("Claim(%+v): %+v, %v, want next %d", r, c, err, next)
		case lost && (!errors.As(err, &loss) || *loss != store.LostError{Next: next, GivenUp: 9}):
			t.Fatalf("Claim(%+v): %+v, %v, want it lost", r, c, err)
		}
	}
	want(store.ClaimRequest{Attempt: 3, Acked: 4}, 9, true)
	want(store.ClaimRequest{Attempt: 3, Acked: 7, First: 3}, 9, true)
	w.append(t, 2) // nobody was fenced, and that the next record is stored changes nothing
	want(store.ClaimRequest{Attempt: 3, Acked: 6}, 11, true)
	if d.Reopen != nil {
		s = d.Reopen(t, s)
	}
	want(store.ClaimRequest{Attempt: 3}, 11, true)
	want(store.ClaimRequest{Attempt: 3, Acked: 8, First: 2}, 11, false) // it holds settled ones
	want(store.ClaimRequest{Attempt: 3, First: 9}, 11, false)           // it holds none of them
	want(store.ClaimRequest{Attempt: 4, Acked: 4, AcceptLost: true}, 11, false)
	want(store.ClaimRequest{Attempt: 5, Acked: 4}, 11, true)
}

// testTogether appends several blocks in one call: those of one producer are stored
// together, those of different producers independently.
func testTogether(t *testing.T, d Driver) {
	s := d.Open(t)
	w, _ := claim(t, s, producer("a", "w"), store.ClaimRequest{})
	v, _ := claim(t, s, producer("b", "v"), store.ClaimRequest{})
	w.append(t, 3)
	in := func(topic string, b *store.Block) *store.Block { b.Topic = topic; return b }
	bad := func(b *store.Block) *store.Block { b.Lengths[0]++; return b }
	stale := func(b *store.Block) *store.Block { b.Epoch++; return b }
	for _, c := range []struct {
		name   string
		blocks []*store.Block
		want   string
		next   uint64 // of w
	}{
		{"a gap", []*store.Block{w.block(4, 1), w.block(6, 1)}, "want 4, want 4", 4},
		{"a gap, then others", []*store.Block{w.block(4, 1), w.block(6, 1), v.block(1, 2), w.block(5, 1), loose("c", `{}`)}, "want 4, want 4, ok, want 4, ok", 4},
		{"a bad one", []*store.Block{w.block(4, 1), v.block(3, 1), w.block(2, 2), w.block(5, 1), bad(w.block(6, 1)), w.block(7, 1)}, "bad, ok, duplicate, bad, bad, bad", 4},
		{"a fenced one", []*store.Block{w.block(4, 1), stale(w.block(5, 1)), loose("c", `{}`)}, "fenced, fenced, ok", 4},
		{"two topics", []*store.Block{w.block(4, 2), in(store.Rejected, w.block(6, 1)), w.block(1, 3), w.block(7, 1), w.block(4, 2)}, "ok, ok, duplicate, ok, duplicate", 8},
		{"nothing new, and a gap", []*store.Block{w.block(5, 3), w.block(9, 1)}, "duplicate, want 8", 8},
	} {
		var got []string
		for _, r := range s.Append(t.Context(), c.blocks...) {
			got = append(got, outcome(r.Err))
		}
		if strings.Join(got, ", ") != c.want {
			t.Fatalf("%s: %q, want %q", c.name, strings.Join(got, ", "), c.want)
		}
		r := readAll(t, s, store.Position{}, store.ReadOptions{Producer: w.p})
		for i, rec := range r.records {
			if rec != string(record(w.p, uint64(i)+1)) {
				t.Fatalf("%s: record %d is %s", c.name, i+1, rec)
			}
		}
		if uint64(len(r.records)) != c.next-1 {
			t.Fatalf("%s: %d records, want %d", c.name, len(r.records), c.next-1)
		}
	}
}

func outcome(err error) string {
	var seq *store.SequenceError
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, store.ErrDuplicate):
		return "duplicate"
	case errors.Is(err, store.ErrFenced):
		return "fenced"
	case errors.As(err, &seq):
		return fmt.Sprint("want ", seq.Want)
	default:
		return "bad"
	}
}

func testExpire(t *testing.T, d Driver) {
	s := d.Open(t)
	long, short := producer("a", "long"), producer("a", "short")
	w, _ := claim(t, s, long, store.ClaimRequest{})
	w.append(t, 2)
	v, _ := claim(t, s, short, store.ClaimRequest{Expire: time.Hour})
	v.append(t, 2)
	if _, c := claim(t, s, short, store.ClaimRequest{Expire: 1}); c.New || c.Next != 3 {
		t.Fatalf("forgotten too early: %+v", c)
	}
	// Its time is over as soon as the store's clock moves.
	c := store.Claim{}
	for deadline := time.Now().Add(10 * time.Second); !c.New; _, c = claim(t, s, short, store.ClaimRequest{Expire: 1}) {
		if time.Now().After(deadline) {
			t.Fatalf("remembered too long: %+v", c)
		}
	}
	if c.Next != 1 {
		t.Fatalf("Claim: %+v", c)
	}
	wantErr(t, "the writer before", s.Append(t.Context(), v.block(3, 1))[0].Err, store.ErrFenced)
	if _, c := claim(t, s, long, store.ClaimRequest{}); c.New || c.Next != 3 {
		t.Fatalf("forgotten at once: %+v", c)
	}
	w, _ = claim(t, s, long, store.ClaimRequest{})
	w.append(t, 1)
	if err := s.Forget(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the writer of a forgotten one", s.Append(t.Context(), w.block(4, 1))[0].Err, store.ErrFenced)
	if _, c = claim(t, s, long, store.ClaimRequest{}); !c.New {
		t.Fatalf("remembered: %+v", c)
	}
	if r := readAll(t, s, store.Position{}, store.ReadOptions{}); len(r.records) != 5 {
		t.Fatalf("%d records, want 5: they stay", len(r.records))
	}
}

func testRejections(t *testing.T, d Driver) {
	s := d.Open(t)
	p := producer("a", "x")
	w, _ := claim(t, s, p, store.ClaimRequest{})
	other, _ := claim(t, s, producer("a", "xx"), store.ClaimRequest{})
	var all []store.Rejection
	reject := func(w *writer) {
		t.Helper()
		b := w.block(w.next, 1)
		b.Topic = store.Rejected
		b.Rejected = []store.Rejection{{
			Number: w.next, Code: "handler", Reason: fmt.Sprint("reason", w.next), Text: fmt.Sprintf("%s %d", w.p.Name, w.next),
		}}
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if w.p == p {
			all = append(all, b.Rejected[0])
		}
		w.next++
	}
	check := func(after uint64, want []store.Rejection) {
		t.Helper()
		var got []store.Rejection
		for r, err := range s.Rejections(t.Context(), p, after) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("after %d: %v, want %v", after, got, want)
		}
	}
	check(0, nil)
	for range 300 {
		reject(w)
		reject(other)
		w.append(t, 1)
	}
	check(0, all)
	check(2, all[1:])
	check(all[100].Number, all[101:])
	check(w.next-1, nil)
	head, _ := s.Head(t.Context())
	if err := s.Trim(t.Context(), store.Rejected, head); err != nil {
		t.Fatal(err)
	}
	if d.Reopen != nil {
		s = d.Reopen(t, s)
		w, _ = claim(t, s, p, store.ClaimRequest{})
	}
	check(0, all)
	for w.next < store.Window {
		w.append(t, 4096)
	}
	reject(w)
	low := w.next - store.Window
	check(0, all[slices.IndexFunc(all, func(r store.Rejection) bool { return r.Number >= low }):])
	for range 40 {
		w.append(t, 4096)
	}
	reject(w)
	check(0, all[len(all)-1:])
}
