package simulate

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/dictwire/dictwire/internal/testrand"
)

var (
	seeds = flag.Uint64("seeds", 40, "how many simulations to run")
	first = flag.Uint64("first", 1, "the seed of the first")
)

// TestSimulate runs a server, writers and readers through everything that may happen to
// them.
func TestSimulate(t *testing.T) {
	before := inUse()
	lanes, many := uint64(runtime.GOMAXPROCS(0)), uint64(testrand.Many(int(*seeds)))
	t.Run("lanes", func(t *testing.T) {
		for lane := range min(lanes, many) {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				for seed := *first + lane; seed < *first+many && !t.Failed(); seed += lanes {
					simulate(t, seed)
				}
			})
		}
	})
	// Nothing is left of all these processes.
	if more := inUse() - before; !t.Failed() {
		t.Logf("%.1f MiB more are in use than before", float64(more)/(1<<20))
		if more > 8<<20 {
			t.Error("that is more than 8 MiB")
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWorld(ctx, seed)
		if err := w.run(); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, w.trace())
		}
	})
}
