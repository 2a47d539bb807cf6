// Package heap makes the garbage collector keep a process small without keeping
// its processors busy.
package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Limit makes the garbage collector keep the process near so many bytes. Where more
// of it is in use, the limit follows at a third above that: a limit below what
// is in use would make the collector run without end. It does nothing where
// GOMEMLIMIT says something else.
func Limit(bytes int64) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		follow(bytes)
	}
}

// A mark is garbage whose finalizer runs after each collection. It holds a pointer, since
// the allocator puts several small objects without one into one piece of memory, which
// is garbage only when all of them are.
type mark struct {
	least int64
	_     *byte
}

// follow sets the limit now, and after each collection.
func follow(least int64) {
	debug.SetMemoryLimit(max(least, inUse()))
	runtime.SetFinalizer(&mark{least: least}, func(m *mark) { follow(m.least) })
}

// inUse returns four thirds of what was live at the last collection, and all
// that is not of the heap.
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
