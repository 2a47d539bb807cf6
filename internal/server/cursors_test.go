package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/store"
)

// slowCursors is a store whose claims take until their context ends.
type slowCursors struct{ store.Store }

func (slowCursors) ClaimCursor(ctx context.Context, _ store.CursorName, _ store.CursorRequest) (store.CursorClaim, error) {
	<-ctx.Done()
	return store.CursorClaim{}, context.Cause(ctx)
}

// Waiting for another one's claim ends with the waiter's own context.
func TestClaimWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := newCursorClaims(), store.CursorName{Name: "c", Subscription: "t"}
		claim := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, err := h.claim(ctx, slowCursors{}, c, store.CursorRequest{})
			return err
		}
		go func() { _ = claim(time.Hour) }()
		synctest.Wait()
		began := time.Now()
		if err := claim(time.Second); err != context.DeadlineExceeded || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
