package server

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/dictwire/dictwire/store"
)

// holders are the claims of cursors that readers have, so that who commits without
// reading takes none of them away. The zero value is ready to use.
type holders struct {
	mu     sync.Mutex
	epochs map[store.CursorName]uint64 // guarded by mu

	claims [64]sync.Mutex // of the cursors with one hash: held during a claim
}

var holderSeed = maphash.MakeSeed()

// claiming lets nobody else claim a cursor until the returned function is called.
func (h *holders) claiming(c store.CursorName) (done func()) {
	m := &h.claims[maphash.Comparable(holderSeed, c)%uint64(len(h.claims))]
	m.Lock()
	return m.Unlock
}

// claim claims a cursor for a reader.
func (h *holders) claim(ctx context.Context, s store.Cursors, c store.CursorName, r store.CursorRequest) (store.CursorClaim, error) {
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
func (h *holders) release(s store.Cursors, c store.CursorName, epoch uint64) {
	s.ReleaseCursor(c, epoch)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epochs[c] == epoch {
		delete(h.epochs, c)
	}
}

// borrow returns the epoch of the claim that a reader has, or of one that lasts until
// release is called. The error is of a cursor that is not there, or as faultOfStore
// returns it.
func (h *holders) borrow(ctx context.Context, s store.Cursors, c store.CursorName) (epoch uint64, release func(), err error) {
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
