package simulate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/testrand"
	"github.com/dictwire/dictwire/store"
)

var losses = flag.Int("crash.seeds", 100, "how many power losses to try")

// TestPowerLoss lets the power fail during a write or a sync, with sessions in progress:
// everything that they were told is settled must be there.
func TestPowerLoss(t *testing.T) {
	for seed := range testrand.From(*first, testrand.Many(*losses)) {
		if err := losePower(t, seed, store.Fsync); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestPowerLossIsFound shows that the test above can fail: without syncs of the log it
// does, within 50 seeds.
func TestPowerLossIsFound(t *testing.T) {
	for seed := range uint64(50) {
		if err := losePower(t, seed, store.OS); err != nil {
			t.Logf("seed %d: %.300v", seed, err)
			return
		}
	}
	t.Fatal("50 power losses without syncs, and nothing was lost")
}

func losePower(t *testing.T, seed uint64, d store.Durability) (err error) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWorld(ctx, seed)
		w.machine.durability = d
		if err = w.machine.start(ctx); err != nil {
			return
		}
		for i := range 1 + w.rng.IntN(4) {
			traits := w.someTraits()
			traits.pause = 0
			w.live(w.addProducer(fmt.Sprintf("p%d", i), traits, 2000))
		}
		w.live(w.addReader("*"))
		run := w.machine.run
		run.disk.after(1+w.rng.Int64N(200), func() { w.machine.die(run, true) })
		select {
		case <-run.died:
		case <-time.After(time.Minute):
			err = errors.New("the power did not fail")
		}
		for _, a := range w.actors {
			w.kill(a, true)
		}
		w.machine.bury(run)
		w.machine.ghosts.Wait()
		if err = errors.Join(err, w.verdict(), w.audits(false)); err != nil {
			err = fmt.Errorf("%w\n%s", err, w.trace())
		}
	})
	return err
}
