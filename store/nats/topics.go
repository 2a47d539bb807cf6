package nats

import (
	"cmp"
	"slices"
	"time"

	"github.com/dictwire/dictwire/store"
)

// A topic is what a server knows of a topic from the headers of its blocks.
type topic struct {
	registered bool
	to         uint64 // position after the last trimmed block
	last, next uint64 // positions of the last block ever stored and after it
	runs       []run  // existing blocks, by position
	most       uint64 // how many blocks a new run takes
}

// A run is a range of a topic's blocks that are counted together.
type run struct {
	first, last, next      uint64 // positions of the first and the last block, and after it
	blocks, records, bytes uint64
	oldest, newest         time.Time
}

// maxRuns is the most runs of a topic. Up to that many blocks, each is a run of its own,
// and counts are exact.
const maxRuns = 256

// add counts a block.
func (t *topic) add(at, next uint64, m mark, stored time.Time) {
	t.last, t.next = at, next
	if at < t.to {
		return // about to be deleted
	}
	one := run{at, at, next, 1, uint64(m.records), uint64(m.bytes), stored, stored}
	if n := len(t.runs); n > 0 && t.runs[n-1].blocks < t.most {
		t.runs[n-1] = t.runs[n-1].with(one)
		return
	}
	t.runs = append(t.runs, one)
	if len(t.runs) <= maxRuns {
		return
	}
	t.most = max(t.most, 1) * 2
	half := t.runs[:0]
	for pair := range slices.Chunk(t.runs, 2) {
		r := pair[0]
		if len(pair) == 2 {
			r = r.with(pair[1])
		}
		half = append(half, r)
	}
	t.runs = half
}

// with merges r and the run s that follows it.
func (r run) with(s run) run {
	r.last, r.next, r.newest = s.last, s.next, s.newest
	r.blocks, r.records, r.bytes = r.blocks+s.blocks, r.records+s.records, r.bytes+s.bytes
	return r
}

// trim removes the blocks before a position.
func (t *topic) trim(to uint64) {
	if to <= t.to {
		return
	}
	t.to = to
	t.next = max(t.next, to)
	i := 0
	for i < len(t.runs) && t.runs[i].last < to {
		i++
	}
	t.runs = append([]run(nil), t.runs[i:]...)
	if len(t.runs) > 0 && t.runs[0].first < to {
		r := &t.runs[0]
		blocks := max(r.after(to, r.blocks), 1)
		r.records, r.bytes = r.records*blocks/r.blocks, r.bytes*blocks/r.blocks
		r.blocks, r.first = blocks, to
	}
}

// after estimates how much of n, which is spread over the run, comes from a position on.
func (r run) after(from, n uint64) uint64 {
	if from <= r.first {
		return n
	}
	return uint64(float64(n) * float64(r.next-min(from, r.next)) / float64(r.next-r.first))
}

// stat returns the statistics of the topic.
func (t *topic) stat(name, tag string) store.TopicStat {
	at := func(block uint64) store.Position { return store.Position{Tag: tag, Block: block} }
	s := store.TopicStat{Name: name, First: at(t.next), Next: at(t.next)}
	for _, r := range t.runs {
		s.Blocks += r.blocks
		s.Records += r.records
		s.Bytes += r.bytes
	}
	if n := len(t.runs); n > 0 {
		s.First, s.Oldest, s.Newest = at(t.runs[0].first), t.runs[0].oldest, t.runs[n-1].newest
	}
	return s
}

// backlog estimates how many records there are from a position on.
func (t *topic) backlog(from store.Position) (records uint64) {
	i, _ := slices.BinarySearchFunc(t.runs, from.Block, func(r run, at uint64) int { return cmp.Compare(r.last, at) })
	for _, r := range t.runs[i:] {
		switch {
		case r.blocks == 1 && r.first == from.Block:
			records += r.records - min(uint64(from.Index), r.records)
		case r.first < from.Block:
			records += max(r.after(from.Block, r.records), 1)
		default:
			records += r.records
		}
	}
	return records
}

// A recent block is one of the last blocks that a server has seen.
type recent struct {
	at    uint64
	topic string
}

// maxRecent is how many of the last blocks a server remembers individually.
const maxRecent = 8192
