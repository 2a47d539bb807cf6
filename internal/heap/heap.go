// Package heap sets the garbage collector's limit, so that a process stays small without
// spending its time on garbage collection.
package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Limit makes the garbage collector keep the process near the given size. If more is in
// use, the limit rises to a third above that, since the collector would run without end
// below it. If GOMEMLIMIT is set, Limit does nothing.
func Limit(bytes int64) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		follow(bytes)
	}
}

// A mark is garbage whose finalizer runs after each collection. It holds a pointer, since
// the allocator packs small objects without pointers into one block, which becomes
// garbage only as a whole.
type mark struct {
	least int64
	_     *byte
}

// follow sets the limit, now and after each collection.
func follow(least int64) {
	debug.SetMemoryLimit(max(least, inUse()))
	runtime.SetFinalizer(&mark{least: least}, func(m *mark) { follow(m.least) })
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
