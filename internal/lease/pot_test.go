package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/dictwire/dictwire/internal/lease"
)

// TestPotLittleBesideMuch checks that large requests wait only for each other.
func TestPotLittleBesideMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := lease.NewPot(64 * mib)
		first, second, little := p.Share(true), p.Share(true), p.Share(true)
		if err := first.Take(t.Context(), 100*mib); err != nil {
			t.Fatal(err)
		}
		granted := false
		go func() {
			if err := second.Take(t.Context(), 100*mib); err != nil {
				t.Error(err)
			}
			granted = true
		}()
		synctest.Wait()
		if !little.TryTake(100 * kib) {
			t.Error("what is little waits while much is waited for")
		}
		if little.TryTake(3 * mib) {
			t.Error("what is large passes who waits")
		}
		if granted {
			t.Error("two hold the whole half that is for what is large")
		}
		first.Keep(0)
		synctest.Wait()
		if !granted {
			t.Error("who waits gets nothing")
		}
	})
}

// TestPotKeep checks that all memory comes back, the larger half first.
func TestPotKeep(t *testing.T) {
	p := lease.NewPot(64 * mib)
	s := p.Share(true)
	for _, n := range []int64{100 * kib, 20 * mib, 12 * mib} {
		if !s.TryTake(n) {
			t.Fatalf("there is no room for %d", n)
		}
	}
	if s.TryTake(3 * mib) {
		t.Error("the larger half is spent, and gives more")
	}
	s.Keep(200 * kib)
	if got := s.Size(); got != 200*kib {
		t.Errorf("it keeps %d bytes", got)
	}
	s.Keep(mib) // keeps the existing share
	if got := s.Size(); got != 200*kib {
		t.Errorf("it keeps %d bytes", got)
	}
	s.Keep(0)
	all := p.Share(true)
	for range 16 {
		if !all.TryTake(mib) {
			t.Fatal("not all came back")
		}
	}
	if !all.TryTake(32 * mib) {
		t.Error("not all of the larger half came back")
	}
	if all.TryTake(1) || all.TryTake(3*mib) {
		t.Error("there is more than there was")
	}
}

// TestPotCause checks that the context's cause is returned.
func TestPotCause(t *testing.T) {
	p := lease.NewPot(64 * mib)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if err := p.Share(true).Take(ctx, 1); !errors.Is(err, gone) {
		t.Errorf("it says %v", err)
	}
}

// TestPotKnown checks that a known peer does not wait for memory behind a crowd.
func TestPotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := lease.NewPot(64 * mib)
		hoard := p.Share(false)
		for range 16 {
			if !hoard.TryTake(mib) {
				t.Fatal("a quarter is for unknown peers")
			}
		}
		if hoard.TryTake(1) {
			t.Error("more than a quarter is for unknown peers")
		}
		if err := p.Share(true).Take(t.Context(), mib); err != nil {
			t.Errorf("a known peer waits: %v", err)
		}
	})
}
