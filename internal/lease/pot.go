package lease

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// A Pot is memory for what is built from records: decoded, converted, put into blocks. A
// holder waits for the processor or the store, but never for a peer nor for more memory,
// so whoever waits for a Pot always gets some in the end.
//
// Half of it is for large requests, so that small ones do not wait for them, and so that
// not too many large ones keep the processors busy at once. Known and unknown peers have
// a quarter each, so that known peers do not wait behind a crowd of unknown ones.
type Pot struct {
	most  int64 // the most of a quarter that one request may take
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

// A Share is what one goroutine holds of a pot.
type Share struct {
	pot  *Pot
	part int      // for small requests: known or unknown
	held [3]int64 // of each part
}

// Share returns an empty share for a known or an unknown peer.
func (p *Pot) Share(isKnown bool) *Share {
	s := &Share{pot: p, part: unknown}
	if isKnown {
		s.part = known
	}
	return s
}

// Size returns how many bytes the share holds.
func (s *Share) Size() int64 { return s.held[unknown] + s.held[known] + s.held[large] }

// of returns the part that serves a request for n bytes, and how many bytes it takes: all
// that the part has if n is more.
func (s *Share) of(n int64) (int, int64) {
	if n <= s.pot.most {
		return s.part, n
	}
	return large, min(n, s.pot.parts[large].total)
}

// Take waits in line for n bytes. The share must be empty. The error is the cause of ctx.
func (s *Share) Take(ctx context.Context, n int64) error {
	i, n := s.of(n)
	if ctx.Err() != nil || s.pot.parts[i].free.Acquire(ctx, n) != nil {
		return context.Cause(ctx)
	}
	s.held[i] += n
	return nil
}

// TryTake takes n more bytes. It reports false if there is no room, or if others wait.
func (s *Share) TryTake(n int64) bool {
	i, n := s.of(n)
	if !s.pot.parts[i].free.TryAcquire(n) {
		return false
	}
	s.held[i] += n
	return true
}

// Keep gives back all but n bytes, those of the large part first.
func (s *Share) Keep(n int64) {
	for i := len(s.held) - 1; i >= 0; i-- {
		if back := min(s.Size()-n, s.held[i]); back > 0 {
			s.held[i] -= back
			s.pot.parts[i].free.Release(back)
		}
	}
}
