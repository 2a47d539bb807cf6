package server

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/dictwire/dictwire/store"
)

// cursorClaims tracks which cursors readers have claimed, so that a commit without a reader
// does not take a claim away from one. The zero value is ready to use.
type cursorClaims struct {
	mu     sync.Mutex
	epochs map[store.CursorName]uint64 // guarded by mu

	claims [64]sync.Mutex // by the cursor's hash; held during a claim
}

var cursorSeed = maphash.MakeSeed()

// claiming locks a cursor against other claims until done is called.
func (h *cursorClaims) claiming(c store.CursorName) (done func()) {
	m := &h.claims[maphash.Comparable(cursorSeed, c)%uint64(len(h.claims))]
	m.Lock()
	return m.Unlock
}

// claim claims a cursor for a reader.
func (h *cursorClaims) claim(ctx context.Context, s store.Cursors, c store.CursorName, r store.CursorRequest) (store.CursorClaim, error) {
	defer h.claiming(c)()
	claim, err := s.ClaimCursor(ctx, c, r)
	if err != nil {
		return claim, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epochs == nil {
		h.epochs = make(map[store.CursorName]uint64)
	}
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
	defer h.claiming(c)()
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
