package lease_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/lease"
)

// many returns how many turns of a kind run.
func many() int { return min(runtime.GOMAXPROCS(0), runtime.NumCPU()) }

// few is how many turns of a kind run while known peers are active.
func few() int { return max(many()/4, 1) }

// begin begins a turn in a goroutine, and returns a channel that receives its error.
func begin(ctx context.Context, turn *lease.Turn) <-chan error {
	begun := make(chan error, 1)
	go func() { begun <- turn.Begin(ctx, nil) }()
	synctest.Wait()
	return begun
}

// seasoned returns a turn that is not a first turn.
func seasoned(t *testing.T, all *lease.Turns) *lease.Turn {
	t.Helper()
	turn := all.Host("h").Turn()
	for range 3 {
		if err := turn.Begin(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		turn.End()
	}
	return turn
}

// While a known peer is active, few others are, and a slot rests for eight times as long as
// it was used.
func TestTurnsFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := lease.NewTurns()
		known := all.Host("k").Turn()
		var turns []*lease.Turn
		for range few() + 1 {
			turns = append(turns, seasoned(t, all))
		}
		known.Known()
		for _, turn := range turns[:few()] {
			if err := turn.Begin(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		waits := begin(t.Context(), turns[few()])
		if len(waits) > 0 {
			t.Fatalf("more than %d work", few())
		}
		time.Sleep(time.Millisecond)
		turns[0].End()
		time.Sleep(8*time.Millisecond - time.Nanosecond)
		if synctest.Wait(); len(waits) > 0 {
			t.Error("the place did not rest")
		}
		time.Sleep(time.Nanosecond)
		if synctest.Wait(); len(waits) == 0 {
			t.Error("the place rests for too long")
		}
		if fresh := begin(t.Context(), all.Host("h").Turn()); len(fresh) == 0 {
			t.Error("a newcomer waits after those who are not")
		}
		time.Sleep(2 * time.Second) // the known peer is gone
		for range many() {
			if err := seasoned(t, all).Begin(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
	})
}

// A turn ends after a while, so that nobody waits for a peer that waits. A long turn does
// not, and only others of its kind wait for it.
func TestTurnsLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := lease.NewTurns()
		hold := func(begin func(*lease.Turn) error) (next *lease.Turn) {
			all.Host("k").Turn().Known()
			for range few() {
				if err := begin(seasoned(t, all)); err != nil {
					t.Fatal(err)
				}
			}
			return seasoned(t, all)
		}
		next := hold(func(t2 *lease.Turn) error { return t2.Begin(t.Context(), nil) })
		before := time.Now()
		if err := next.Begin(t.Context(), nil); err != nil || time.Since(before) != 45*time.Millisecond {
			t.Errorf("it waits for %v, %v; want a turn of 5 ms, and a rest of 40", time.Since(before), err)
		}
		next.End()
		time.Sleep(time.Second)

		next = hold(func(t2 *lease.Turn) error { return t2.BeginLong(t.Context(), nil) })
		if got := begin(t.Context(), seasoned(t, all)); len(got) == 0 {
			t.Error("a short turn waits for long ones")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		waits := make(chan error, 1)
		go func() { waits <- next.BeginLong(ctx, nil) }()
		time.Sleep(500 * time.Millisecond)
		if synctest.Wait(); len(waits) > 0 {
			t.Error("a long turn lapses")
		}
		gone := errors.New("gone")
		cancel(gone)
		if err := <-waits; !errors.Is(err, gone) {
			t.Errorf("it says %v", err)
		}
		stop := make(chan struct{})
		go func() { waits <- next.BeginLong(t.Context(), stop) }()
		synctest.Wait()
		close(stop)
		if err := <-waits; !errors.Is(err, lease.ErrStopped) {
			t.Errorf("it says %v", err)
		}
		time.Sleep(time.Second)
	})
}

// While records are stored, known readers work on half of the processors, and rest for half
// as long as they work if others wait. Otherwise they need no turns.
func TestTurnsOfReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, half := lease.NewTurns(), max(many()/2, 1)
		// read returns how many turns of 4 ms a number of readers get in a second.
		read := func(readers int, store int) int {
			var wg sync.WaitGroup
			var turns atomic.Int64
			for end := time.Now().Add(time.Second); readers > 0; readers-- {
				wg.Go(func() {
					turn := all.Host("r").Turn()
					for time.Now().Before(end) {
						all.Host("p").Credit(store)
						if err := turn.BeginReading(t.Context(), nil); err != nil {
							t.Error(err)
						}
						time.Sleep(4 * time.Millisecond)
						turn.End()
						turns.Add(1)
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Minute)
			return int(turns.Load())
		}
		for _, test := range []struct{ readers, store, want int }{
			{3 * half, 0, 3 * half * 250},
			{3 * half, -1, 3 * half * 250},
			{half, 1, half * 250},
			{3 * half, 1, half * 250 * 2 / 3},
		} {
			if got := read(test.readers, test.store); got < test.want*9/10 || got > test.want*11/10 {
				t.Errorf("%d readers, while %d records are stored at a time, get %d turns; want %d", test.readers, test.store, got, test.want)
			}
		}
	})
}

// Unknown peers leave a known reader its processors, too, while nothing is stored.
func TestReadersAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := lease.NewTurns()
		if err := all.Host("r").Turn().BeginReading(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		use(t, all)
		before := time.Now()
		if err := all.Host("other").Turn().Begin(t.Context(), nil); err != nil || time.Since(before) == 0 {
			t.Errorf("after %v: %v; want a rest", time.Since(before), err)
		}
		time.Sleep(time.Second)
	})
}

// A host with one peer does not wait for all peers of another host.
func TestTurnsHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := lease.NewTurns()
		all.Host("k").Turn().Known()
		hog := make([]*lease.Turn, few())
		for i := range hog {
			hog[i] = all.Host("hog").Turn()
			if err := hog[i].Begin(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		order := make(chan string, 200)
		wait := func(host string, i int) {
			turn := all.Host(host).Turn()
			go func() {
				if turn.Begin(t.Context(), nil) == nil {
					order <- fmt.Sprint(host, i)
					turn.End()
				}
			}()
			synctest.Wait()
		}
		for i := range 100 {
			wait("crowd", i)
		}
		wait("one", 0)
		wait("other", 0)
		hog[0].End()
		synctest.Wait()
		if got := strings.Join([]string{<-order, <-order, <-order, <-order}, " "); got != "crowd0 one0 other0 crowd1" {
			t.Errorf("the turns are %v", got)
		}
		if synctest.Wait(); len(order) != 98 {
			t.Errorf("%d got no turn", 98-len(order))
		}
		time.Sleep(time.Second)
	})
}

func BenchmarkTurn(b *testing.B) {
	b.ReportAllocs()
	turn := lease.NewTurns().Host("h").Turn()
	for b.Loop() {
		if err := turn.Begin(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		turn.End()
	}
}
