package pebble

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"
)

// An order gives positions to blocks and knows which of them readers may see.
// The engine shows a write before it is synced:
//
//	… durable │ in flight │ not given yet
//	         head        next
type order struct {
	next uint64        // the position of the next block; run's alone
	last int64         // the time of the last one; likewise
	head atomic.Uint64 // readers see what is below

	mu      sync.Mutex
	waiters waiters // readers that follow
}

// give gives positions and a time to the blocks of a group, and makes its
// batch. The keys of a kind are together, for the engine finds the place of one
// beside the last one.
func (o *order) give(g *group, now time.Time) error {
	o.last = max(o.last, now.UnixNano())
	for _, m := range g.commits {
		m.first = o.next
		o.next += uint64(len(m.drafts))
		for i := range m.drafts {
			d := &m.drafts[i]
			e := envelope{time: o.last, before: d.topic.held, records: d.records, bytes: d.bytes}
			d.topic.held = e.after()
			op := g.batch.SetDeferred(len(d.topic.name)+10, envelopeSize+len(d.encoded))
			appendBlockKey(op.Key[:0], d.topic.name, m.first+uint64(i))
			e.append(op.Value[:0])
			copy(op.Value[envelopeSize:], d.encoded)
			if err := op.Finish(); err != nil {
				return err
			}
		}
	}
	for _, m := range g.commits {
		for i := range m.drafts {
			name := m.drafts[i].topic.name
			op := g.batch.SetDeferred(1+8, 8+len(name)+crc32.Size)
			op.Key[0] = prefixOrder
			binary.BigEndian.PutUint64(op.Key[1:], m.first+uint64(i))
			appendPlace(op.Value[:0], o.last, name)
			if err := op.Finish(); err != nil {
				return err
			}
		}
	}
	for _, m := range g.commits {
		if m.beside == nil {
			continue
		}
		if err := g.batch.Apply(m.beside, nil); err != nil {
			return err
		}
	}
	g.next = o.next
	return nil
}

// settle shows the blocks of a group, which is durable, to readers.
func (o *order) settle(g *group) {
	if g.next == o.head.Load() {
		return
	}
	o.head.Store(g.next)
	o.mu.Lock()
	defer o.mu.Unlock()
	var last *topic
	for _, m := range g.commits {
		for i := range m.drafts {
			if t := m.drafts[i].topic; t != last {
				o.waiters.wake(t.name)
				last = t
			}
		}
	}
}
