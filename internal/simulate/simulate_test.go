package simulate

import (
	"context"
	"flag"
	"testing"
	"testing/synctest"
)

var (
	seeds = flag.Int("seeds", 60, "how many simulations to run")
	first = flag.Uint64("first", 1, "the seed of the first")
)

// TestSimulate lets a server, those who write and those who read live through
// everything that may happen.
func TestSimulate(t *testing.T) {
	for i := range uint64(*seeds) {
		seed := *first + i
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w := newWorld(ctx, seed)
			if err := w.run(); err != nil {
				t.Errorf("seed %d: %v\n%s", seed, err, w.trace())
			}
		})
		if t.Failed() {
			t.FailNow()
		}
	}
}
