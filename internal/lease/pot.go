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
// One half of it is for what is large: who wants little does not wait in line
// after those who want much, nor do all of those keep the processors busy at once.
// The other half is for known and unknown peers, a quarter each, so that those who
// have been served well do not wait after a crowd of those who have not.
type Pot struct {
	most  int64 // of a quarter that one may want at a time
	parts [3]section
}

// A section is a part of a pot.
type section struct {
	total int64
	free  *semaphore.Weighted
}

const (
	unknown = iota
	known
	large
)

// NewPot returns a pot of total bytes.
func NewPot(total int64) *Pot {
	p := &Pot{most: max(total/32, 1)}
	for i, n := range []int64{unknown: total / 4, known: total / 4, large: total / 2} {
		n = max(n, 1)
		p.parts[i] = section{n, semaphore.NewWeighted(n)}
	}
	return p
}

// A Share is what one holds of a pot. It belongs to one goroutine.
type Share struct {
	pot  *Pot
	part int      // of what is not large
	held [3]int64 // of each part
}

// Share returns a share of nothing, of a peer that is known or not.
func (p *Pot) Share(isKnown bool) *Share {
	s := &Share{pot: p, part: unknown}
	if isKnown {
		s.part = known
	}
	return s
}

// Size returns how many bytes the share holds.
func (s *Share) Size() int64 { return s.held[unknown] + s.held[known] + s.held[large] }

// of returns which part n bytes are taken of, and how many are: all there are
// where n is more.
func (s *Share) of(n int64) (int, int64) {
	if n <= s.pot.most {
		return s.part, n
	}
	return large, min(n, s.pot.parts[large].total)
}

// Take waits for n bytes, in line. The share holds nothing. The error is the cause
// of ctx.
func (s *Share) Take(ctx context.Context, n int64) error {
	i, n := s.of(n)
	if ctx.Err() != nil || s.pot.parts[i].free.Acquire(ctx, n) != nil {
		return context.Cause(ctx)
	}
	s.held[i] += n
	return nil
}

// TryTake takes n bytes more. It reports false where there is no room, or somebody
// waits.
func (s *Share) TryTake(n int64) bool {
	i, n := s.of(n)
	if !s.pot.parts[i].free.TryAcquire(n) {
		return false
	}
	s.held[i] += n
	return true
}

// Keep gives back what the share holds beyond n bytes, and of what is for
// large ones first.
func (s *Share) Keep(n int64) {
	for i := len(s.held) - 1; i >= 0; i-- {
		if back := min(s.Size()-n, s.held[i]); back > 0 {
			s.held[i] -= back
			s.pot.parts[i].free.Release(back)
		}
	}
}
