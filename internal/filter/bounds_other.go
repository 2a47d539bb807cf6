//go:build !linux

package filter

import (
	"runtime/metrics"
	"time"
)

const watchEvery = 5 * time.Millisecond

// confine watches the memory of this process, which the system can't limit. A single value
// may exceed the limit for a moment, until it is noticed.
func confine() error {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	used := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64() - sample[1].Value.Uint64()
	}
	most := used() + Memory
	go func() { // for the life of the process
		for range time.Tick(watchEvery) {
			if used() > most {
				panic("out of memory")
			}
		}
	}()
	return bound()
}
