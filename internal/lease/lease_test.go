package lease_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/internal/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	kib = 1 << 10
	mib = 1 << 20
)

// ask resizes l in a goroutine and returns a channel that is closed when that
// is granted.
func ask(t *testing.T, l *lease.Lease, size int64) <-chan struct{} {
	granted := make(chan struct{})
	go func() {
		if err := l.Resize(context.Background(), size); err != nil {
			t.Error(err)
		}
		close(granted)
	}()
	synctest.Wait()
	return granted
}

func isGranted(c <-chan struct{}) bool {
	synctest.Wait()
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestLineAndLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(8*mib, 2*mib) // small 1, lane 2, large 5
		hog, first, second, third, small := b.Lease(), b.Lease(), b.Lease(), b.Lease(), b.Lease()
		if !isGranted(ask(t, hog, 5*mib)) {
			t.Fatal("the large part was not granted")
		}
		lane := ask(t, first, 6*mib) // more than there is: only the lane can do it
		if !isGranted(lane) {
			t.Fatal("the first in line did not get the lane")
		}
		if b.Pressed() {
			t.Error("pressed, and nobody waits")
		}
		next, last := ask(t, second, mib), ask(t, third, mib)
		if isGranted(next) || isGranted(last) || !b.Pressed() {
			t.Fatal("two got the lane at once")
		}
		if !isGranted(ask(t, small, 4*kib)) {
			t.Error("a small lease waits behind large ones")
		}
		if second.TryResize(2 * mib) {
			t.Error("TryResize jumped the line")
		}
		if !isGranted(ask(t, first, 0)) || !isGranted(next) || isGranted(last) {
			t.Error("the lane did not go to the next in line")
		}
		if !isGranted(ask(t, hog, 0)) || !isGranted(last) {
			t.Error("what was given back did not go to the line")
		}
		if b.Pressed() {
			t.Error("pressed, and nobody waits")
		}
	})
}

func TestResizeEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(8*mib, 2*mib)
		hog, lane, waiter := b.Lease(), b.Lease(), b.Lease()
		ask(t, hog, 5*mib)
		ask(t, lane, 5*mib)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- waiter.Resize(ctx, mib) }()
		synctest.Wait()
		cancel(cause)
		if err := <-ended; !errors.Is(err, cause) {
			t.Errorf("Resize = %v", err)
		}
		if b.Pressed() || waiter.Size() != 0 {
			t.Error("the one that gave up is still in line")
		}
		ask(t, hog, 0)
		if !isGranted(ask(t, waiter, 5*mib)) {
			t.Error("it can't come back")
		}
	})
}

// Whatever happens, leases never exceed the budget by more than the one in the
// lane, everyone gets on, and all of it comes back.
func TestSoak(t *testing.T) {
	const total, holders, rounds, largest = 4 * mib, 40, 400, 3 * mib
	b := lease.NewBudget(total, mib)
	var held, peak atomic.Int64
	var wg sync.WaitGroup
	for h := range holders {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(h)))
			l := b.Lease()
			for range rounds {
				size := int64(r.IntN(8 * kib))
				if r.IntN(4) == 0 {
					size = int64(r.IntN(largest))
				}
				before := l.Size()
				if size < before {
					held.Add(size - before)
				}
				if err := l.Resize(context.Background(), size); err != nil {
					t.Error(err)
				}
				if size > before {
					now := held.Add(size - before)
					for p := peak.Load(); now > p && !peak.CompareAndSwap(p, now); p = peak.Load() {
					}
				}
				if r.IntN(3) > 0 {
					continue
				}
				// Whoever holds much must give back some day.
				held.Add(-l.Size())
				if err := l.Resize(context.Background(), 0); err != nil {
					t.Error(err)
				}
			}
			held.Add(-l.Size())
			_ = l.Resize(context.Background(), 0)
		})
	}
	wg.Wait()
	if peak.Load() > total+largest {
		t.Errorf("%d bytes were leased at once, of %d and %d in the lane", peak.Load(), total, largest)
	}
	l := b.Lease()
	if !l.TryResize(total - total/8 - mib) {
		t.Error("not all came back")
	}
}

// A known peer gets what a sender of ordinary records needs, while others wait for
// more than there is.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(64*mib, 2*mib)
		b.KeepForKnown(mib)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 100 {
			go func() { _ = b.Lease().Resize(ctx, mib) }()
		}
		synctest.Wait()
		if !b.Pressed() {
			t.Fatal("nobody waits")
		}
		stranger, known := b.Lease(), b.Lease()
		known.SetKnown(true)
		if stranger.TryResize(64 * kib) {
			t.Error("who is not known does not wait")
		}
		if !known.TryResize(64*kib) || !known.TryResize(256*kib) {
			t.Error("who is known waits")
		}
		if known.TryResize(321 * kib) {
			t.Error("who is known passes with what is large")
		}
		for range 3 {
			l := b.Lease()
			l.SetKnown(true)
			if !l.TryResize(256 * kib) {
				t.Error("a known peer waits with room for it")
			}
		}
		other := b.Lease()
		other.SetKnown(true)
		if other.TryResize(64 * kib) {
			t.Error("there is more for known peers than was kept")
		}
		if err := known.Resize(t.Context(), 0); err != nil || !other.TryResize(256*kib) {
			t.Errorf("what was given back is gone: %v", err)
		}
		cancel()
		synctest.Wait()
	})
}

// Giving back never waits, also for a peer that has become unknown.
func TestGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(8*mib, mib) // small 1, lane 1, known 1, large 5
		b.KeepForKnown(mib)
		l, hog, little := b.Lease(), b.Lease(), b.Lease()
		l.SetKnown(true)
		if !l.TryResize(256 * kib) {
			t.Fatal("a known peer gets nothing")
		}
		l.SetKnown(false)
		ask(t, hog, 5*mib)
		for range mib / lease.Small {
			if !b.Lease().TryResize(lease.Small) {
				t.Fatal("the small part is not what it was")
			}
		}
		if isGranted(ask(t, little, 5*mib)) != true { // it has the lane
			t.Fatal("the lane is not free")
		}
		for _, size := range []int64{128 * kib, 4 * kib, 0} {
			if !isGranted(ask(t, l, size)) {
				t.Fatalf("to give back all but %d bytes waits", size)
			}
		}
		known := b.Lease()
		known.SetKnown(true)
		if !known.TryResize(320*kib) || b.Lease().TryResize(1) {
			t.Error("what was given back is not what is free")
		}
	})
}
