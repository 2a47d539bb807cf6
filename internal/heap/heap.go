// Package heap sets the garbage collector's limit, so that a process stays small without
// spending its time on garbage collection, and gives memory back when the process is at
// rest.
package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restAfter is how long after a collection of garbage a process is at rest. One that
	// has much to do collects several times a second.
	restAfter = 10 * time.Second

	// leastFree is how much memory must be free at rest to be given back.
	leastFree = 1 << 20
)

// Limit makes the garbage collector keep the process near the given size. If more is in
// use, the limit rises to a third above that, since the collector would run without end
// below it. Some time after the last collection, free memory is given back to the system,
// which would otherwise take the runtime minutes, and of which it would keep as much as is in
// use. If GOMEMLIMIT is set, Limit does nothing.
func Limit(bytes int64) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		startKeeper(bytes, restAfter)
	}
}

// startKeeper makes a keeper that works from now on.
func startKeeper(least int64, restAfter time.Duration) {
	(&keeper{least: least, restAfter: restAfter, rest: time.AfterFunc(restAfter, giveBack)}).follow()
}

// A keeper keeps the process near its size.
type keeper struct {
	least     int64
	restAfter time.Duration
	rest      *time.Timer // gives memory back
}

// A mark is garbage whose finalizer runs after each collection. It holds a pointer, since
// the allocator packs small objects without pointers into one block, which becomes
// garbage only as a whole.
type mark struct{ keeper *keeper }

// follow sets the limit, now and after each collection.
func (k *keeper) follow() {
	debug.SetMemoryLimit(max(k.least, inUse()))
	k.rest.Reset(k.restAfter)
	runtime.SetFinalizer(&mark{k}, func(m *mark) { m.keeper.follow() })
}

// giveBack collects garbage and gives free memory back to the system.
func giveBack() {
	if free() >= leastFree {
		debug.FreeOSMemory()
	}
}

// free returns how much memory of the heap is free and was not given back.
func free() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// inUse returns four thirds of the live heap as of the last collection, plus all memory
// outside the heap.
func inUse() int64 {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(s)
	live, other := s[0].Value.Uint64(), s[1].Value.Uint64()
	for _, heap := range s[2:] {
		other -= min(other, heap.Value.Uint64())
	}
	return int64(live + live/3 + other)
}
