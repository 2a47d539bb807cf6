package lease

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// A Pot is memory for what is built of records: decoded, converted, put into
// blocks. Whoever holds some of it waits for the processor or the store, never
// for a peer and never for more memory, so that those who wait for it always get
// on.
//
// One half of it is for what is large. Who wants little does not wait in line
// after those who want much, nor do all of those keep the processors busy at once.
type Pot struct {
	most  int64 // of the common half that one may want at a time
	parts [2]half
}

// half is one half of a pot.
type half struct {
	total int64
	free  *semaphore.Weighted
}

const (
	common = iota
	large
)

// NewPot returns a pot of total bytes.
func NewPot(total int64) *Pot {
	p := &Pot{most: max(total/32, 1)}
	for i := range p.parts {
		n := max(total/2, 1)
		p.parts[i] = half{n, semaphore.NewWeighted(n)}
	}
	return p
}

// A Share is what one holds of a pot. It belongs to one goroutine.
type Share struct {
	pot  *Pot
	held [2]int64 // of each half
}

// Share returns a share of nothing.
func (p *Pot) Share() *Share { return &Share{pot: p} }

// Size returns how many bytes the share holds.
func (s *Share) Size() int64 { return s.held[common] + s.held[large] }

// part returns which half n bytes are taken of, and how many are: all there are
// where n is more.
func (p *Pot) part(n int64) (int, int64) {
	if n <= p.most {
		return common, n
	}
	return large, min(n, p.parts[large].total)
}

// Take waits for n bytes, in line. The share holds nothing. The error is the cause
// of ctx.
func (s *Share) Take(ctx context.Context, n int64) error {
	i, n := s.pot.part(n)
	if ctx.Err() != nil || s.pot.parts[i].free.Acquire(ctx, n) != nil {
		return context.Cause(ctx)
	}
	s.held[i] += n
	return nil
}

// TryTake takes n bytes more. It reports false where there is no room, or somebody
// waits.
func (s *Share) TryTake(n int64) bool {
	i, n := s.pot.part(n)
	if !s.pot.parts[i].free.TryAcquire(n) {
		return false
	}
	s.held[i] += n
	return true
}

// Keep gives back what the share holds beyond n bytes, and of the larger half
// first.
func (s *Share) Keep(n int64) {
	for i := range s.held {
		i = large - i
		if back := min(s.Size()-n, s.held[i]); back > 0 {
			s.held[i] -= back
			s.pot.parts[i].free.Release(back)
		}
	}
}
