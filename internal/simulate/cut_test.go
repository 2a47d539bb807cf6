package simulate

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/memnet"
)

// TestCuts breaks the first connection of a writer and of a reader after each of its bytes,
// in both directions, or drops the rest.
func TestCuts(t *testing.T) {
	for name, add := range map[string]func(w *world, name string) *actor{
		"writer": func(w *world, name string) *actor {
			a := w.addProducer(name, traits{window: 4, size: 10, bad: 3}, 6)
			a.producer.seed = 7 // so that all of them send the same
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

		var (
			mu    sync.Mutex
			links = map[string]memnet.Link{} // of first connections; guarded by mu
		)
		w.net.SetLink(func(from, _ string) memnet.Link {
			mu.Lock()
			defer mu.Unlock()
			link := links[from]
			delete(links, from)
			return link
		})
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
				f := memnet.Direction{CutAfter: n, Swallow: quiet}
				a := add(w, fmt.Sprintf("c%04d%v", n, quiet))
				mu.Lock()
				links[a.name()] = [2]memnet.Link{{Up: f}, {Down: f}}[direction]
				mu.Unlock()
				w.live(a)
			}
			if n%50 == 0 {
				w.sleep(time.Second)
			}
		}
		w.sleep(30 * time.Second)
		mu.Lock()
		if len(links) > 0 {
			t.Errorf("%d connections were not made", len(links))
		}
		mu.Unlock()
		if err := w.end(false); err != nil {
			t.Errorf("%v\n%s", err, w.trace())
		}
	})
}
