package lease

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// A Pot is memory for what is built of records: decoded, converted, put into
// blocks. Whoever holds some of it waits for the processor or the store, never
// for a peer and never for more memory, so that those who wait for it always get
// on. Its methods may be called by several goroutines at once.
type Pot struct {
	total int64
	free  *semaphore.Weighted
}

// NewPot returns a pot of total bytes.
func NewPot(total int64) *Pot {
	total = max(total, 1)
	return &Pot{total: total, free: semaphore.NewWeighted(total)}
}

// Take waits for n bytes, in line, and returns how many to give back: all there
// are where n is more. The caller holds nothing of the pot. The error is the cause
// of ctx.
func (p *Pot) Take(ctx context.Context, n int64) (int64, error) {
	n = min(n, p.total)
	if ctx.Err() != nil || p.free.Acquire(ctx, n) != nil {
		return 0, context.Cause(ctx)
	}
	return n, nil
}

// TryTake is Take that does not wait. It reports false where there is no room, or
// somebody waits.
func (p *Pot) TryTake(n int64) (int64, bool) {
	n = min(n, p.total)
	if !p.free.TryAcquire(n) {
		return 0, false
	}
	return n, true
}

// Give gives back n bytes of what was taken.
func (p *Pot) Give(n int64) {
	if n > 0 {
		p.free.Release(n)
	}
}
