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

// ask resizes l in a goroutine, and returns a channel that is closed when that is granted.
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
		hog, first, second, third, small := b.Lease(nil), b.Lease(nil), b.Lease(nil), b.Lease(nil), b.Lease(nil)
		if !isGranted(ask(t, hog, 5*mib)) {
			t.Fatal("the large part was not granted")
		}
		lane := ask(t, first, 6*mib) // more than there is: only possible in the lane
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
		hog, lane, waiter := b.Lease(nil), b.Lease(nil), b.Lease(nil)
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

// Whatever happens, leases never exceed the budget by more than the one in the lane,
// everyone makes progress, and all memory comes back.
func TestSoak(t *testing.T) {
	const total, holders, rounds, largest = 4 * mib, 40, 400, 3 * mib
	b := lease.NewBudget(total, mib)
	var held, peak atomic.Int64
	var wg sync.WaitGroup
	for h := range holders {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(h)))
			l := b.Lease(nil)
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
				// A large lease must be given back eventually.
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
	l := b.Lease(nil)
	if !l.TryResize(total - total/8 - mib) {
		t.Error("not all came back")
	}
}

// A known peer gets what a sender of ordinary records needs while others wait for more than
// there is. Requests that are merely useful leave half of it free.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(64*mib, 2*mib)
		b.KeepForKnown(2 * mib)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 100 {
			go func() { _ = b.Lease(nil).Resize(ctx, mib) }()
		}
		synctest.Wait()
		if !b.Pressed() {
			t.Fatal("nobody waits")
		}
		stranger, known := b.Lease(nil), b.Lease(nil)
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
		another := func() *lease.Lease {
			l := b.Lease(nil)
			l.SetKnown(true)
			return l
		}
		for range 3 {
			if !another().TryResize(256 * kib) {
				t.Error("a known peer waits with room for it")
			}
		}
		other := another()
		if other.TryResize(64 * kib) {
			t.Error("what is needed by known peers is taken for what is not")
		}
		for range 4 {
			if !isGranted(ask(t, another(), 256*kib)) {
				t.Error("a known peer waits for what it needs, and there is some")
			}
		}
		last := another()
		if isGranted(ask(t, last, 64*kib)) {
			t.Error("there is more for known peers than was kept")
		}
		known.Shrink(0)
		if synctest.Wait(); last.Size() != 64*kib || other.TryResize(64*kib) {
			t.Errorf("of what was given back, %d bytes are needed and were granted", last.Size())
		}
		cancel()
		synctest.Wait()
	})
}

// Hosts take turns: a connection does not wait for hundreds of connections of another host.
func TestHostsTakeTurnsForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(8*mib, 2*mib) // small 1, lane 2, large 5
		hosts := lease.NewTurns()
		crowd, other := hosts.Host("crowd"), hosts.Host("other")
		hogs := make([]*lease.Lease, 6)
		for i, size := range []int64{mib, mib, mib, mib, mib, 2 * mib} { // the last one has the lane
			hogs[i] = b.Lease(nil)
			if !isGranted(ask(t, hogs[i], size)) {
				t.Fatal("there is less memory than was made")
			}
		}
		var granted atomic.Int32
		for range 100 {
			l := b.Lease(crowd)
			go func() {
				if err := l.Resize(t.Context(), mib); err != nil {
					return
				}
				granted.Add(1)
			}()
		}
		synctest.Wait()
		one := ask(t, b.Lease(other), mib)
		hogs[0].Shrink(0)
		if isGranted(one) || granted.Load() != 1 {
			t.Errorf("%d of the host that came first have memory", granted.Load())
		}
		hogs[1].Shrink(0)
		if !isGranted(one) || granted.Load() != 1 {
			t.Errorf("%d of a host have memory, and the other one has none", granted.Load())
		}
	})
}

// Good records of a host open the part for known peers to its later connections.
func TestCreditIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(8*mib, mib)
		b.KeepForKnown(mib)
		ask(t, b.Lease(nil), 5*mib)
		ask(t, b.Lease(nil), mib) // the lane
		hosts := lease.NewTurns()
		good, bad := hosts.Host("good"), hosts.Host("bad")
		good.Credit(1)
		bad.Credit(-1)
		if b.Lease(bad).TryResize(64*kib) || b.Lease(hosts.Host("new")).TryResize(64*kib) {
			t.Error("who is not known has the memory of those who are")
		}
		if !b.Lease(good).TryResize(64 * kib) {
			t.Error("who comes from a host of good records waits")
		}
	})
}

// Giving memory back never blocks, even for a peer that is no longer known.
func TestGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lease.NewBudget(8*mib, mib) // small 1, lane 1, known 1, large 5
		b.KeepForKnown(mib)
		l, hog, little := b.Lease(nil), b.Lease(nil), b.Lease(nil)
		l.SetKnown(true)
		if !l.TryResize(256 * kib) {
			t.Fatal("a known peer gets nothing")
		}
		l.SetKnown(false)
		ask(t, hog, 5*mib)
		for range mib / lease.Small {
			if !b.Lease(nil).TryResize(lease.Small) {
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
		known := b.Lease(nil)
		known.SetKnown(true)
		if !known.TryResize(320*kib) || b.Lease(nil).TryResize(1) {
			t.Error("what was given back is not what is free")
		}
	})
}
