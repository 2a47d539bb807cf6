package store

import "sync/atomic"

// A Shrinkage predicts whether compressing blocks of one kind, such as those of a topic,
// pays. After compressions in vain, it skips some blocks. The zero value knows nothing
// yet. Any number of goroutines may use it; concurrent results may count once.
type Shrinkage struct {
	inVain atomic.Int64 // compressions in vain since the last success
	skip   atomic.Int64 // bytes still to be skipped
}

// After each compression in vain, one more block is skipped than after the one before, up
// to these numbers of blocks and bytes.
const (
	maxSkipped = 63
	maxSkip    = 32 << 20
)

// mayPay reports whether to try compressing the next n bytes.
func (s *Shrinkage) mayPay(n int) bool {
	return s == nil || s.skip.Load() <= 0 || s.skip.Add(int64(-n)) < 0
}

// note records whether compressing n bytes paid.
func (s *Shrinkage) note(n int, paid bool) {
	switch {
	case s == nil:
	case !paid:
		s.skip.Store(min(int64(n)*min(s.inVain.Add(1), maxSkipped), maxSkip))
	case s.inVain.Load() > 0:
		s.inVain.Store(0)
	}
}
