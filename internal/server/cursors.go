package server

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/dictwire/dictwire/store"
)

// cursorClaims tracks which cursors readers have claimed, so that a commit without a reader
// does not take a claim away from one.
type cursorClaims struct {
	mu     sync.Mutex
	epochs map[store.CursorName]uint64 // guarded by mu

	claims [64]chan struct{} // by the cursor's hash; full during a claim
}

func newCursorClaims() *cursorClaims {
	h := &cursorClaims{epochs: make(map[store.CursorName]uint64)}
	for i := range h.claims {
		h.claims[i] = make(chan struct{}, 1)
	}
	return h
}

var cursorSeed = maphash.MakeSeed()

// claiming locks a cursor against other claims until done is called. A claim may take as
// long as the store does, so waiting for the lock ends with ctx.
func (h *cursorClaims) claiming(ctx context.Context, c store.CursorName) (done func(), err error) {
	claims := h.claims[maphash.Comparable(cursorSeed, c)%uint64(len(h.claims))]
	select {
	case claims <- struct{}{}:
		return func() { <-claims }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// claim claims a cursor for a reader.
func (h *cursorClaims) claim(ctx context.Context, s store.Cursors, c store.CursorName, r store.CursorRequest) (store.CursorClaim, error) {
	done, err := h.claiming(ctx, c)
	if err != nil {
		return store.CursorClaim{}, err
	}
	defer done()
	claim, err := s.ClaimCursor(ctx, c, r)
	if err != nil {
		return claim, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epochs[c] = claim.Epoch
	return claim, nil
}

// release ends a reader's claim.
func (h *cursorClaims) release(s store.Cursors, c store.CursorName, epoch uint64) {
	s.ReleaseCursor(c, epoch)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epochs[c] == epoch {
		delete(h.epochs, c)
	}
}

// borrow returns the epoch of a reader's claim or, if no reader has the cursor, of a new
// claim that release ends. The error is that of an unknown cursor, or from faultOfStore.
func (h *cursorClaims) borrow(ctx context.Context, s store.Cursors, c store.CursorName) (epoch uint64, release func(), err error) {
	done, err := h.claiming(ctx, c)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	h.mu.Lock()
	epoch, held := h.epochs[c]
	h.mu.Unlock()
	if held {
		return epoch, func() {}, nil
	}
	switch _, known, err := s.Cursor(ctx, c); {
	case err != nil:
		return 0, nil, faultOfStore(ctx, err)
	case !known:
		return 0, nil, missing("there is no cursor %.100q that reads %.100q", c.Name, c.Subscription)
	}
	claim, err := s.ClaimCursor(ctx, c, store.CursorRequest{})
	if err != nil {
		return 0, nil, faultOfStore(ctx, err)
	}
	return claim.Epoch, func() { s.ReleaseCursor(c, claim.Epoch) }, nil
}
