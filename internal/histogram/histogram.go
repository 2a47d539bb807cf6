// Package histogram counts values by their size, without locks.
package histogram

import (
	"math/bits"
	"sync/atomic"

	"github.com/dictwire/dictwire/store"
)

// A Histogram counts values. Any number of goroutines may use it.
type Histogram struct {
	counts [65]atomic.Uint64 // of values below 2 to the power of the index, and not below half of that
	sum    atomic.Uint64
}

// Add counts a value. Negative ones count as 0.
func (h *Histogram) Add(v int64) {
	n := uint64(max(v, 0))
	h.counts[bits.Len64(n)].Add(1)
	h.sum.Add(n)
}

// Load returns what was counted.
func (h *Histogram) Load() store.Histogram {
	all := store.Histogram{Sum: h.sum.Load()}
	for i := range h.counts {
		all.Counts[i] = h.counts[i].Load()
	}
	return all
}
