package log

import "math"

const (
	// maxSparse is how many bytes segments may take for every 100 bytes that are still
	// needed. Beyond that, segments are rewritten.
	maxSparse = 120

	// A rewriting must free at least 1/minGain of a segment.
	minGain = 8
)

// smallGain is how many bytes must be gained in all for anything to be rewritten. Segments
// of up to that size are always joined with their neighbours.
func (s *Store) smallGain() int64 { return min(1<<20, s.opts.MaxSegment/4) }

// A weight is how much a sealed segment holds of one topic.
type weight struct {
	topic             string
	first, last, size uint64
}

// maxWeights is the most topics for which a segment keeps its weights in memory.
const maxWeights = 64

// weights returns how much a sealed segment holds of each topic. trimMu is held.
func (s *Store) weights(g *segment) ([]weight, error) {
	if g.weights != nil {
		return g.weights, nil
	}
	var all []weight
	if err := s.withIndex(g, func(x *index) error {
		all = make([]weight, 0, len(x.topics))
		for name, h := range x.topics {
			w := weight{topic: name, first: h.first, last: h.last}
			for _, sh := range h.in {
				w.size += sh.size
			}
			all = append(all, w)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if len(all) <= maxWeights {
		g.weights = all
	}
	return all, nil
}

// isDead reports whether all blocks of a sealed segment are trimmed. trimMu is held.
func (s *Store) isDead(g *segment) (bool, error) {
	all, err := s.weights(g)
	if err != nil {
		return false, err
	}
	for _, w := range all {
		if w.topic == damagedTopic || !s.isTrimmed(w.topic, w.last) {
			return false, nil
		}
	}
	return true, nil
}

// waste returns how many bytes a rewriting of a sealed segment would free. What its frames
// say of states counts as waste once it was carried. trimMu is held.
func (s *Store) waste(g *segment) (int64, error) {
	all, err := s.weights(g)
	if err != nil {
		return 0, err
	}
	blocks, dead := uint64(0), uint64(0)
	var partly []weight
	for _, w := range all {
		blocks += w.size
		switch {
		case w.topic == damagedTopic || !s.isTrimmed(w.topic, w.first):
		case s.isTrimmed(w.topic, w.last):
			dead += w.size
		default:
			partly = append(partly, w)
		}
	}
	if len(partly) > 0 {
		if err := s.withIndex(g, func(x *index) error {
			for _, w := range partly {
				for _, sh := range x.topics[w.topic].in {
					if s.isTrimmed(w.topic, x.part(sh.chunk, g).end-1) {
						dead += sh.size
					}
				}
			}
			return nil
		}); err != nil {
			return 0, err
		}
	}
	waste := int64(dead)
	if g.Last <= s.carried {
		waste += g.frameBytes() - int64(blocks)
	}
	return max(0, waste-g.stuck), nil
}

// frameBytes returns how many bytes the frames of a sealed segment take.
func (g *segment) frameBytes() int64 { return g.Size - g.Start }

// A sparse is a sealed segment, and what rewriting it would gain.
type sparse struct {
	g           *segment
	size, waste int64
	fixed       bool // it stays as it is
}

// left is how many bytes remain after a rewriting.
func (e *sparse) left() int64 { return e.size - e.waste }

// pays reports whether enough of the segment is waste for it to be rewritten.
func (e *sparse) pays() bool { return e.waste > 0 && e.waste*minGain >= e.size }

// sparsest returns consecutive segments that are to be rewritten into one, or nil where
// no rewriting pays. trimMu is held.
func (s *Store) sparsest() []*segment {
	all, limit := s.candidates()
	// Where disk space is short, the rewriting that needs least of it comes first, and alone.
	alone := s.reserve.lacks(s.maxSegment() + roomToCheckpoint)
	best := mostSparse(all, limit, alone)
	if best < 0 {
		return nil
	}
	if alone {
		return []*segment{all[best].g}
	}
	if all[best].g.Last <= s.carried {
		limit = s.carried
	}
	var run []*segment
	for _, e := range s.joined(all, best, limit) {
		run = append(run, e.g)
	}
	return run
}

// candidates returns all sealed segments with their waste, or nil where that is little in
// all. Segments whose last frame is after limit are not worth rewriting now: all states
// would have to be carried first.
func (s *Store) candidates() (all []sparse, limit uint64) {
	var size, waste, fresh int64
	for _, g := range s.segments.list() {
		if !g.isSealed() {
			continue
		}
		e := sparse{g: g, size: g.frameBytes(), fixed: g.Lost != "" || g.spoilt}
		if !e.fixed {
			var err error
			if e.waste, err = s.waste(g); err != nil {
				e.fixed = true
			}
		}
		all = append(all, e)
		size, waste = size+e.size, waste+e.waste
		if g.Last > s.carried {
			fresh += e.waste
		}
	}
	if waste < s.smallGain() || size*100 <= (size-waste)*maxSparse {
		return nil, 0
	}
	if fresh < s.carriedBytes {
		return all, s.carried
	}
	return all, math.MaxUint64
}

// mostSparse returns the index of the segment that gains the most for its size, or with
// least, of the one that leaves the fewest bytes. It returns -1 where none pays.
func mostSparse(all []sparse, limit uint64, least bool) int {
	best := -1
	for i := range all {
		e := &all[i]
		switch {
		case !e.pays() || e.g.Last > limit:
		case best < 0, least && e.left() < all[best].left(),
			!least && float64(e.waste)*float64(all[best].size) > float64(all[best].waste)*float64(e.size):
			best = i
		}
	}
	return best
}

// joined returns the segment at best with the neighbours that are rewritten with it:
// those that are sparse, too, and small ones, which would otherwise add up.
func (s *Store) joined(all []sparse, best int, limit uint64) []sparse {
	from, to, left := best, best+1, all[best].left()
	joins := func(i int) bool {
		if i < 0 || i >= len(all) || to-from >= maxRun || all[i].fixed || all[i].g.Last > limit {
			return false
		}
		e := &all[i]
		if left+e.left() > s.maxSegment() || e.waste*minGain < e.size && e.left() > max(2*left, s.smallGain()) {
			return false
		}
		left += e.left()
		return true
	}
	for joins(from - 1) {
		from--
	}
	for joins(to) {
		to++
	}
	return all[from:to]
}
