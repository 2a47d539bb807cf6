package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/store"
)

// testBounds creates names up to the limits: existing names go on working, and nobody
// takes the room of others.
func testBounds(t *testing.T, d Driver) {
	if d.Bounded == nil {
		return // its names are limited elsewhere
	}
	const limit = 6
	for _, kind := range []struct {
		what string
		name func(ctx context.Context, s store.Store, principal string, n int) error // creates or uses a name
		drop func(ctx context.Context, s store.Store, principal string, n int) error // removes it; nil: it stays
	}{
		{"topics", func(ctx context.Context, s store.Store, principal string, n int) error {
			b := loose(fmt.Sprintf("%s-%d", principal, n), `{}`)
			b.Principal = principal
			return s.Append(ctx, b)[0].Err
		}, nil},
		{"producers", func(ctx context.Context, s store.Store, principal string, n int) error {
			_, err := s.Claim(ctx, store.Producer{Principal: principal, Topic: "a", Name: fmt.Sprint(n)}, store.ClaimRequest{})
			return err
		}, func(ctx context.Context, s store.Store, principal string, n int) error {
			return s.Forget(ctx, store.Producer{Principal: principal, Topic: "a", Name: fmt.Sprint(n)})
		}},
		{"cursors", func(ctx context.Context, s store.Store, principal string, n int) error {
			_, err := s.ClaimCursor(ctx, store.CursorName{Principal: principal, Name: fmt.Sprint(n), Subscription: "a"}, store.CursorRequest{})
			return err
		}, func(ctx context.Context, s store.Store, principal string, n int) error {
			return s.ForgetCursor(ctx, store.CursorName{Principal: principal, Name: fmt.Sprint(n), Subscription: "a"})
		}},
	} {
		t.Run(kind.what, func(t *testing.T) {
			s, ctx := d.Bounded(t, limit), t.Context()
			take := func(principal string, n int, room bool) {
				t.Helper()
				err := kind.name(ctx, s, principal, n)
				var full *store.LimitError
				switch {
				case room && err != nil:
					t.Fatalf("%d of %s: %v", n, principal, err)
				case !room && (!errors.As(err, &full) || full.What != kind.what || full.Option == ""):
					t.Fatalf("%d of %s: %v, want a limit of %s", n, principal, err, kind.what)
				}
			}
			for n := range limit / 2 {
				take("mallory", n, true)
			}
			for range 2 { // refused more than once, and known ones are not affected
				take("mallory", limit, false)
				take("mallory", 0, true)
			}
			for n := range limit / 2 {
				take("alice", n, true)
			}
			take("bob", 0, false)
			if d.Reopen != nil {
				s = d.Reopen(t, s)
				take("bob", 0, false)
				take("mallory", limit, false)
			}
			take("_own", 0, true)
			take("mallory", 0, true)
			take("alice", limit/2-1, true)
			if kind.drop == nil {
				return
			}
			for _, name := range []string{"_own", "mallory", "mallory"} { // a removed name is uncounted once
				if err := kind.drop(ctx, s, name, 0); err != nil {
					t.Fatal(err)
				}
			}
			take("bob", 0, true)
			take("mallory", limit, false) // all together
			if err := kind.drop(ctx, s, "alice", 0); err != nil {
				t.Fatal(err)
			}
			take("mallory", limit, true)
			take("alice", 0, false)
		})
	}
	t.Run("together", func(t *testing.T) {
		s := d.Bounded(t, 2)
		w, _ := claim(t, s, producer("a", "x"), store.ClaimRequest{})
		w.append(t, 1)
		other := w.block(3, 1)
		other.Topic = "b"
		for i, r := range s.Append(t.Context(), w.block(2, 1), other) {
			if !errors.As(r.Err, new(*store.LimitError)) {
				t.Fatalf("block %d of a producer, of which one makes a topic too many: %v", i, r.Err)
			}
		}
		rejected := w.block(3, 1)
		rejected.Topic = store.Rejected
		for _, r := range s.Append(t.Context(), w.block(2, 1), rejected) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	})
}

// testQuota stores as much as one principal may: it is pushed back, others are not, and
// trimming makes room for it.
func testQuota(t *testing.T, d Driver) {
	if d.Quota == nil {
		return
	}
	const quota, size = 64 << 10, 4 << 10
	s, ctx := d.Quota(t, quota), t.Context()
	random := rand.NewChaCha8([32]byte{})
	appendOf := func(principal, topic string) error {
		record := make([]byte, size) // incompressible
		_, _ = random.Read(record)   // never fails
		b := &store.Block{Topic: topic, Codec: "json", Principal: principal}
		b.Add(record)
		return s.Append(ctx, b)[0].Err
	}
	fill := func(principal string, topics ...string) (blocks int) {
		t.Helper()
		for {
			err := appendOf(principal, topics[blocks%len(topics)])
			var full *store.LimitError
			switch {
			case errors.As(err, &full):
				if full.What != "stored bytes" || full.Principal != principal || full.Max != quota || full.Option == "" {
					t.Fatalf("%s: %+v", principal, full)
				}
				return blocks
			case err != nil:
				t.Fatal(err)
			case blocks > quota/size:
				t.Fatalf("%s has stored %d blocks of %d bytes, and may have %d", principal, blocks+1, size, quota)
			}
			blocks++
		}
	}
	stored := func(principal string) uint64 {
		t.Helper()
		all, err := s.(store.Accountant).Stored(ctx)
		if err != nil || !slices.IsSortedFunc(all, func(a, b store.StoredStat) int { return strings.Compare(a.Principal, b.Principal) }) {
			t.Fatalf("%+v, %v", all, err)
		}
		for _, stat := range all {
			if strings.HasPrefix(stat.Principal, "_") || stat.Bytes == 0 || stat.Max != quota {
				t.Fatalf("%+v", stat)
			}
			if stat.Principal == principal {
				return stat.Bytes
			}
		}
		return 0
	}
	within := func(what, principal string, blocks int) {
		t.Helper()
		if n, least := stored(principal), uint64(blocks*size); n < least || n > least+uint64(blocks)*size/2 {
			t.Fatalf("%s: %d bytes of %s, want those of %d blocks of %d", what, n, principal, blocks, size)
		}
	}
	blocks := fill("mallory", "a", "b")
	if blocks < quota/size/2 {
		t.Fatalf("full after %d blocks of %d bytes", blocks, size)
	}
	within("full", "mallory", blocks)
	others := fill("alice", "a", "c")
	within("beside", "alice", others)
	for _, own := range []string{"_own", store.Rejected} { // the server's own topics have other limits
		for range 2 * quota / size {
			if err := appendOf("mallory", own); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d.Reopen != nil {
		s = d.Reopen(t, s)
		if n := fill("mallory", "a") + fill("alice", "a"); n > 0 {
			t.Fatalf("%d blocks more after it was opened again", n)
		}
	}
	within("opened again", "mallory", blocks)
	trim := func(topics ...string) {
		t.Helper()
		head, err := s.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range topics {
			if err := s.Trim(ctx, topic, head); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Trimming others' records makes no room.
	trim("c")
	within("trimmed", "alice", others-others/2)
	if n := fill("mallory", "a"); n > 0 {
		t.Fatalf("%d blocks more after a trim of what another had stored", n)
	}
	trim("b")
	within("trimmed", "mallory", blocks-blocks/2)
	within("trimmed", "alice", others-others/2)
	if n := fill("mallory", "b"); n != blocks/2 {
		t.Fatalf("%d blocks were trimmed, and there was room for %d", blocks/2, n)
	}
	trim("a", "b", "c")
	if m, a := stored("mallory"), stored("alice"); m+a > 0 {
		t.Fatalf("all is trimmed, and there are %d bytes of mallory and %d of alice", m, a)
	}
}
