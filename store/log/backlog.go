package log

import (
	"context"
	"math/bits"

	"github.com/dictwire/dictwire/store"
)

// maxCounted is how many of the last segments Backlog counts. For positions before them
// it estimates, which takes no time.
const maxCounted = 4

// Backlog implements [store.Log]. It is exact for positions in one of the last segments,
// and before or after all records of a topic.
func (s *Store) Backlog(ctx context.Context, from store.Position, patterns []string) (records uint64, err error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	if err := s.within(from); err != nil {
		return 0, err
	}
	matching := s.topics.matching(store.NewPatterns(patterns))
	var parts []store.TopicStat // of topics that from lies within
	s.topics.mu.RLock()
	for _, t := range matching {
		switch {
		case t.blocks == 0 || t.next <= from.Block:
		case from.Block < t.first, from.Block == t.first && from.Index == 0:
			records += t.records
		default:
			parts = append(parts, store.TopicStat{Name: t.name, Records: t.records, First: s.position(t.first), Next: s.position(t.next)})
		}
	}
	s.topics.mu.RUnlock()
	if len(parts) == 0 {
		return records, nil
	}
	var in []*segment
	for _, g := range s.segments.list() {
		if g.end.Load() > from.Block {
			in = append(in, g)
		}
	}
	if len(in) <= maxCounted {
		counted, err := s.count(in, from, parts)
		return records + counted, err
	}
	for _, t := range parts {
		// Assume that the records are spread evenly.
		high, low := bits.Mul64(t.Records, t.Next.Block-from.Block)
		share, _ := bits.Div64(high, low, t.Next.Block-t.First.Block) // less than t.Records
		records += max(share, 1)
	}
	return records, nil
}

// count counts the records of topics in the given segments from a position on.
func (s *Store) count(in []*segment, from store.Position, topics []store.TopicStat) (records uint64, err error) {
	for _, g := range in {
		var edges []part
		if err := s.withIndex(g, func(x *index) error {
			seen := map[int]bool{}
			for _, t := range topics {
				h := x.topics[t.Name]
				if h == nil || h.last < from.Block {
					continue
				}
				for _, sh := range h.in {
					switch p := x.part(sh.chunk, g); {
					case p.end <= from.Block:
					case p.pos > from.Block || p.pos == from.Block && from.Index == 0:
						records += sh.records
					case !seen[sh.chunk]:
						seen[sh.chunk] = true
						edges = append(edges, p)
					}
				}
			}
			return nil
		}); err != nil && !s.freed(g, err) {
			return 0, err
		}
		for _, p := range edges {
			if _, err := s.walkSpan(g, p, from.Block, p.end, func(_ *frame, it *item, pos uint64) bool {
				var b store.Block
				name := topicOf(&b, it)
				for _, t := range topics {
					if t.Name == name {
						records += it.records
						if pos == from.Block {
							records -= min(uint64(from.Index), it.records)
						}
					}
				}
				return true
			}); err != nil && !s.freed(g, err) {
				return 0, err
			}
		}
	}
	return records, nil
}
