package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// The tests call startKeeper, since the keeper of an earlier test, which never ends, can set a limit
// at any time, and Limit then does nothing.

var sink []byte

// A heap that is larger than the limit does not keep the collector busy, and the
// limit comes back with it.
func TestLimitFollows(t *testing.T) {
	const (
		mib   = 1 << 20
		least = 16 * mib
	)
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	startKeeper(least, restAfter)
	settle := func(is func(limit int64) bool) {
		t.Helper()
		for range 1000 {
			if is(debug.SetMemoryLimit(-1)) {
				return
			}
			runtime.GC()
			runtime.Gosched()
		}
		t.Errorf("the limit is %d MiB", debug.SetMemoryLimit(-1)/mib)
	}
	live := make([][]byte, 128)
	for i := range live {
		live[i] = make([]byte, mib)
	}
	settle(func(limit int64) bool { return limit > 165*mib && limit < 260*mib })

	var from, to runtime.MemStats
	runtime.ReadMemStats(&from)
	for range 4096 {
		sink = make([]byte, mib/16)
	}
	runtime.ReadMemStats(&to)
	if n := to.NumGC - from.NumGC; n > 16 { // 256 MiB of garbage, beside 64 that are free
		t.Errorf("%d collections", n)
	}
	clear(live)
	settle(func(limit int64) bool { return limit < 64*mib })
	runtime.KeepAlive(live)
}

// The limit follows however many small objects are allocated and kept, wherever the
// allocator puts them.
func TestLimitFollowsAmongSmallObjects(t *testing.T) {
	const mib = 1 << 20
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // all are allocated at the same place
	var kept []*int64
	keep := func() {
		for range 3 {
			kept = append(kept, new(int64))
		}
	}
	keep()
	startKeeper(16*mib, restAfter)
	keep()
	for range 300 {
		runtime.GC()
		runtime.Gosched() // to the finalizer
		keep()
	}
	live := make([]byte, 128*mib)
	for range 1000 {
		if debug.SetMemoryLimit(-1) > 165*mib {
			runtime.KeepAlive(live)
			runtime.KeepAlive(kept)
			return
		}
		runtime.GC()
		runtime.Gosched()
		keep()
	}
	t.Errorf("with 128 MiB live, the limit is %d MiB", debug.SetMemoryLimit(-1)/mib)
}

// A process at rest has given back what is free. Without that, the runtime keeps as much as
// is in use.
func TestGivesBack(t *testing.T) {
	const mib = 1 << 20
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	live := make([]*[64 << 10]byte, 3584) // so much that its limit leaves room for what is free
	for i := range live {
		live[i] = new([64 << 10]byte)
	}
	clear(live[3072:])
	runtime.GC()
	if free() < 16*mib {
		t.Fatalf("%d MiB are free right after 32 were", free()/mib)
	}
	startKeeper(16*mib, 100*time.Millisecond)
	for end := time.Now().Add(10 * time.Second); free() >= leastFree; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d MiB are free at rest", free()/mib)
		}
	}
	runtime.KeepAlive(live)
}
