package pebble

import (
	"sync"
	"sync/atomic"
	"time"
)

// An order gives positions to blocks and knows which of them readers may see.
// The engine shows a write before it is synced, and syncs end in any order:
//
//	… durable │ durable, but one below is not │ in flight │ not given yet
//	         head                                        next
type order struct {
	mu      sync.Mutex
	next    uint64        // the position of the next block
	last    int64         // the time of the last one
	base    uint64        // the lowest position in flight, or next
	flights []flight      // from base on
	topics  []*topic      // scratch of settle
	waiters waiters       // readers that follow
	head    atomic.Uint64 // readers see what is below; written under mu
}

// A flight is a position between give and settle.
type flight struct {
	topic   *topic
	settled bool
}

// give gives positions to blocks that are about to be written: the first one of
// them, and the time of all. before gets what their topics held before each.
func (o *order) give(now time.Time, blocks []draft) (first uint64, t int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = max(o.last, now.UnixNano())
	first = o.next
	for i := range blocks {
		d := &blocks[i]
		d.envelope.time = o.last
		d.envelope.before = d.topic.held
		d.topic.held = d.envelope.after()
		o.flights = append(o.flights, flight{topic: d.topic})
		o.next++
	}
	return first, o.last
}

// settle notes that the n positions from first on are durable. Those that
// never are hold up all behind them, for the engine has failed.
func (o *order) settle(first uint64, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range n {
		o.flights[first+uint64(i)-o.base].settled = true
	}
	i := 0
	for ; i < len(o.flights) && o.flights[i].settled; i++ {
		if t := o.flights[i].topic; len(o.topics) == 0 || o.topics[len(o.topics)-1] != t {
			o.topics = append(o.topics, t)
		}
	}
	if i == 0 {
		return
	}
	o.base += uint64(i)
	o.flights = append(o.flights[:0], o.flights[i:]...)
	o.head.Store(o.base)
	for _, t := range o.topics {
		o.waiters.wake(t.name)
	}
	clear(o.topics)
	o.topics = o.topics[:0]
}
