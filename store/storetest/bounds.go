package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/dictwire/dictwire/store"
)

// testBounds makes names until there is no room for more: what is there goes on, and
// nobody takes the room of others.
func testBounds(t *testing.T, d Driver) {
	if d.Bounded == nil {
		return // what it keeps is somebody else's to bound
	}
	const limit = 6
	for _, kind := range []struct {
		what string
		name func(ctx context.Context, s store.Store, principal string, n int) error // makes it, or uses it
		drop func(ctx context.Context, s store.Store, principal string, n int) error // nil: it stays
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
			for _, name := range []string{"_own", "mallory", "mallory"} { // what is gone is not counted again
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
