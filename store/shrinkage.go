package store

import "sync/atomic"

// A Shrinkage is whether blocks of one kind, those of a topic, became smaller lately
// when they were compressed: where they did not, it is not tried for a while. The zero
// value knows of none. Any number of goroutines may use it; what they note at the same
// time may count once.
type Shrinkage struct {
	inVain atomic.Int64 // how often it did not pay since it last did
	skip   atomic.Int64 // bytes that are not tried
}

// Each time in a row that it is tried in vain, one block more is passed over before the
// next one is tried, up to a number of blocks and bytes.
const (
	maxSkipped = 63
	maxSkip    = 32 << 20
)

// mayPay reports whether the next n bytes are to be tried.
func (s *Shrinkage) mayPay(n int) bool {
	return s == nil || s.skip.Load() <= 0 || s.skip.Add(int64(-n)) < 0
}

// note notes whether it paid to compress n bytes.
func (s *Shrinkage) note(n int, paid bool) {
	switch {
	case s == nil:
	case !paid:
		s.skip.Store(min(int64(n)*min(s.inVain.Add(1), maxSkipped), maxSkip))
	case s.inVain.Load() > 0:
		s.inVain.Store(0)
	}
}
