package simulate

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestCuts breaks the first connection of a writer, and of a reader, behind each
// of its bytes in both directions, or swallows what follows.
func TestCuts(t *testing.T) {
	for name, add := range map[string]func(w *world, name string) *actor{
		"writer": func(w *world, name string) *actor {
			a := w.addProducer(name, traits{window: 4, size: 10, bad: 3}, 6)
			a.producer.seed = 7 // they all send the same
			return a
		},
		"reader": func(w *world, _ string) *actor {
			a := w.addReader("few")
			a.reader.pause, a.reader.nocommit = 0, 0
			return a
		},
	} {
		for way, direction := range []string{"up", "down"} {
			t.Run(name+" "+direction, func(t *testing.T) { cuts(t, way, add) })
		}
	}
}

func cuts(t *testing.T, direction int, add func(w *world, name string) *actor) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWorld(ctx, 1)
		if err := w.machine.start(ctx); err != nil {
			t.Fatal(err)
		}
		few := w.addProducer("few", traits{window: 100}, 2)
		few.producer.topic = "few"
		w.live(few)
		synctest.Wait()

		fates := map[string]fate{} // of first connections; guarded by w.net.mu
		w.net.fate = func(from, _ string) fate {
			f := fates[from]
			delete(fates, from)
			return f
		}
		whole := add(w, "c0000false")
		w.live(whole)
		w.sleep(time.Second)
		w.kill(whole, false)
		bytes := whole.spoke()[direction]
		if bytes < 100 {
			t.Fatalf("a session of %d bytes", bytes)
		}
		for n := int64(1); n <= bytes; n++ {
			for _, quiet := range []bool{false, true} {
				f := way{cut: n, quiet: quiet}
				a := add(w, fmt.Sprintf("c%04d%v", n, quiet))
				w.net.mu.Lock()
				fates[a.name()] = [2]fate{{up: f}, {down: f}}[direction]
				w.net.mu.Unlock()
				w.live(a)
			}
			if n%50 == 0 {
				w.sleep(time.Second)
			}
		}
		w.sleep(30 * time.Second)
		w.net.mu.Lock()
		if len(fates) > 0 {
			t.Errorf("%d connections were not made", len(fates))
		}
		w.net.mu.Unlock()
		if err := w.end(false); err != nil {
			t.Errorf("%v\n%s", err, w.trace())
		}
	})
}
