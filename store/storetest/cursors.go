package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
)

func claimCursor(t testing.TB, s store.Store, c store.CursorName, r store.CursorRequest) store.CursorClaim {
	t.Helper()
	claim, err := s.ClaimCursor(context.Background(), c, r)
	if err != nil {
		t.Fatalf("ClaimCursor(%+v): %v", r, err)
	}
	return claim
}

func testCursors(t *testing.T, d Driver) {
	s := d.Open(t)
	ctx := t.Context()
	var at []store.Position
	for range 5 {
		at = append(at, appendLoose(t, s, "a", `{}`))
	}
	c := store.CursorName{Principal: "p", Name: "billing", Subscription: "a"}
	if _, ok, err := s.Cursor(ctx, c); ok || err != nil {
		t.Fatalf("a new cursor: %v, %v", ok, err)
	}
	want := func(c store.CursorName, p store.Position) {
		t.Helper()
		if got, ok, err := s.Cursor(ctx, c); got != p || !ok || err != nil {
			t.Fatalf("Cursor: %v, %v, %v, want %v", got, ok, err, p)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "a commit without a claim", s.Commit(ctx, c, 0, at[1]), store.ErrFenced)
	first := claimCursor(t, s, c, store.CursorRequest{From: at[1]})
	if !first.New || first.Position != at[1] {
		t.Fatalf("ClaimCursor: %+v, want a new one at %v", first, at[1])
	}
	want(c, at[1])
	do(s.Commit(ctx, c, first.Epoch, at[2]))
	want(c, at[2])
	do(s.Commit(ctx, c, first.Epoch, at[1]))
	want(c, at[2])
	second := claimCursor(t, s, c, store.CursorRequest{From: at[0]})
	if second.New || second.Position != at[2] || second.Epoch == first.Epoch {
		t.Fatalf("ClaimCursor: %+v, want one at %v", second, at[2])
	}
	wantErr(t, "a commit of the claim before", s.Commit(ctx, c, first.Epoch, at[4]), store.ErrFenced)
	do(s.Commit(ctx, c, second.Epoch, at[4]))
	want(c, at[4])
	do(s.Reset(ctx, c, at[0]))
	want(c, at[0])
	wantErr(t, "a commit after a reset", s.Commit(ctx, c, second.Epoch, at[4]), store.ErrFenced)

	// Attempts count among the claims that last.
	third := claimCursor(t, s, c, store.CursorRequest{Attempt: 7})
	_, err := s.ClaimCursor(ctx, c, store.CursorRequest{Attempt: 6})
	wantErr(t, "a lower attempt", err, store.ErrStale)
	do(s.Commit(ctx, c, third.Epoch, at[1]))
	s.ReleaseCursor(c, second.Epoch) // ended before
	_, err = s.ClaimCursor(ctx, c, store.CursorRequest{Attempt: 6})
	wantErr(t, "a lower attempt", err, store.ErrStale)
	third = claimCursor(t, s, c, store.CursorRequest{Attempt: 7})
	s.ReleaseCursor(c, third.Epoch)
	wantErr(t, "a commit after the release", s.Commit(ctx, c, third.Epoch, at[2]), store.ErrFenced)
	fourth := claimCursor(t, s, c, store.CursorRequest{Attempt: 1})
	fifth := claimCursor(t, s, c, store.CursorRequest{}) // nobody counts
	wantErr(t, "a commit of the claim before", s.Commit(ctx, c, fourth.Epoch, at[2]), store.ErrFenced)
	do(s.Commit(ctx, c, fifth.Epoch, at[2]))

	others := []store.CursorName{
		{Principal: "p", Name: "billing", Subscription: "a.*"},
		{Principal: "p", Name: "bill", Subscription: "inga"},
		{Principal: "o", Name: "billing", Subscription: "a"},
	}
	for i, o := range others {
		do(s.Reset(ctx, o, at[i]))
	}
	for i, o := range others {
		want(o, at[i])
	}
	all, err := s.Cursors(ctx)
	do(err)
	var names []store.CursorName
	for _, c := range all {
		names = append(names, c.CursorName)
	}
	if w := []store.CursorName{others[2], others[1], c, others[0]}; !slices.Equal(names, w) {
		t.Fatalf("Cursors: %v, want %v", names, w)
	}
	do(s.ForgetCursor(ctx, c))
	wantErr(t, "a commit of a forgotten one", s.Commit(ctx, c, fifth.Epoch, at[4]), store.ErrFenced)
	if again := claimCursor(t, s, c, store.CursorRequest{From: at[3]}); !again.New || again.Position != at[3] {
		t.Fatalf("ClaimCursor: %+v, want a new one at %v", again, at[3])
	}
}

// ends waits for the end of a claim.
func ends(claim context.Context, t testing.TB, what string) {
	t.Helper()
	select {
	case <-claim.Done():
	case <-time.After(time.Minute):
		t.Fatalf("%s was not told that it is fenced", what)
	}
}

func lasts(claim context.Context, t testing.TB, what string) {
	t.Helper()
	if claim.Err() != nil {
		t.Fatalf("%s was told that it is fenced", what)
	}
}

// testFenced checks which claims are told that they are lost.
func testFenced(t *testing.T, d Driver) {
	s := d.Open(t)
	ctx := t.Context()
	p := producer("a", "x")
	w, first := claim(t, s, p, store.ClaimRequest{Attempt: 2})
	_, other := claim(t, s, producer("a", "y"), store.ClaimRequest{})
	_, err := s.Claim(ctx, p, store.ClaimRequest{Attempt: 1})
	wantErr(t, "a lower attempt", err, store.ErrStale)
	lasts(first.Fenced, t, "the writer")
	w.append(t, 1)
	_, second := claim(t, s, p, store.ClaimRequest{})
	ends(first.Fenced, t, "the writer")
	lasts(second.Fenced, t, "the second writer")
	s.Release(p, first.Epoch) // of a claim that is lost, nothing changes
	w, third := claim(t, s, p, store.ClaimRequest{})
	ends(second.Fenced, t, "the second writer")
	if err := s.Forget(ctx, p); err != nil {
		t.Fatal(err)
	}
	ends(third.Fenced, t, "the writer of a forgotten producer")
	w, fourth := claim(t, s, p, store.ClaimRequest{First: w.next})
	s.Release(p, fourth.Epoch)
	w.append(t, 1) // nobody has claimed it
	lasts(other.Fenced, t, "the writer of another producer")

	name := store.CursorName{Principal: "p", Name: "c", Subscription: "a"}
	one := claimCursor(t, s, name, store.CursorRequest{Attempt: 2})
	_, err = s.ClaimCursor(ctx, name, store.CursorRequest{Attempt: 1})
	wantErr(t, "a lower attempt", err, store.ErrStale)
	lasts(one.Fenced, t, "the reader")
	two := claimCursor(t, s, name, store.CursorRequest{})
	ends(one.Fenced, t, "the reader")
	lasts(two.Fenced, t, "the second reader")
	if err := s.Reset(ctx, name, store.Position{}); err != nil {
		t.Fatal(err)
	}
	ends(two.Fenced, t, "the second reader")
}

// testLimits appends the largest block that is allowed, and a larger one.
func testLimits(t *testing.T, d Driver) {
	s := d.Open(t)
	l := s.Limits()
	if l.BlockBytes <= 0 || l.BlockBytes > store.MaxBlockBytes || l.Durability == "" {
		t.Fatalf("Limits: %+v", l)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	if l.BlockBytes > 64<<20 {
		return // what Block.Check refuses
	}
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add(make([]byte, l.BlockBytes))
	if err := s.Append(t.Context(), b)[0].Err; err != nil {
		t.Fatalf("a block of %d bytes: %v", l.BlockBytes, err)
	}
	b.Add([]byte("x"))
	if err := s.Append(t.Context(), b)[0].Err; err == nil {
		t.Fatalf("a block of %d bytes is taken", l.BlockBytes+1)
	}
}

// testServers has two servers of one store.
func testServers(t *testing.T, d Driver) {
	if d.Second == nil {
		return // a store belongs to one
	}
	both := d.servers(t)
	a, b := both[0], both[1]
	ctx := t.Context()
	p := producer("a", "x")
	var want []string
	w, fence := claim(t, a, p, store.ClaimRequest{Attempt: 1})
	for range 10 {
		for i := range uint64(3) {
			want = append(want, string(record(p, w.next+i)))
		}
		w.append(t, 3)
		old, oldFence := w, fence
		both[0], both[1] = both[1], both[0]
		w, fence = claim(t, both[0], p, store.ClaimRequest{Attempt: w.epoch, Acked: old.next - 1})
		if w.next != old.next {
			t.Fatalf("Claim: next %d, want %d", w.next, old.next)
		}
		wantErr(t, "the writer at the other server", old.s.Append(ctx, old.block(old.next, 1))[0].Err, store.ErrFenced)
		ends(oldFence.Fenced, t, "the writer at the other server")
	}
	_, err := b.Claim(ctx, p, store.ClaimRequest{Attempt: 1, Acked: 2})
	wantErr(t, "an old attempt", err, store.ErrStale)

	// What one has answered for is a position at the other, which shows it in time.
	at := appendLoose(t, a, "b", `{}`)
	if err := b.CheckPosition(ctx, at); err != nil {
		t.Fatalf("CheckPosition: %v", err)
	}
	var records []string
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for batch, err := range b.Read(ctx, store.Position{}, store.ReadOptions{Follow: true}) {
		if err != nil {
			t.Fatalf("%v, after %d records", err, len(records))
		}
		if batch.Block == nil {
			continue
		}
		if batch.At == at {
			break
		}
		for _, r := range batch.Block.Records(0) {
			records = append(records, string(r))
		}
	}
	if !slices.Equal(records, want) {
		t.Fatalf("read %d records, want %d", len(records), len(want))
	}

	name := store.CursorName{Principal: "p", Name: "c", Subscription: "a"}
	one := claimCursor(t, a, name, store.CursorRequest{Attempt: 2, From: at})
	_, err = b.ClaimCursor(ctx, name, store.CursorRequest{Attempt: 1})
	wantErr(t, "a lower attempt", err, store.ErrStale)
	two := claimCursor(t, b, name, store.CursorRequest{Attempt: 3})
	if two.Position != at {
		t.Fatalf("ClaimCursor: %+v, want it at %v", two, at)
	}
	ends(one.Fenced, t, "the reader at the other server")
	head, err := a.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the reader at the other server", a.Commit(ctx, name, one.Epoch, head), store.ErrFenced)
	if err := b.Commit(ctx, name, two.Epoch, head); err != nil {
		t.Fatal(err)
	}
	if got, _, err := a.Cursor(ctx, name); err != nil || got != head {
		t.Fatalf("Cursor: %v, %v, want %v", got, err, head)
	}
}
