package log

import (
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/store"
)

// topics holds all topics there ever were, by name.
type topics struct {
	head    atomic.Uint64 // readers see the positions before it
	trimmed atomic.Uint64 // the highest of all topics
	trims   atomic.Uint64 // the number of trims, plus one

	mu     sync.RWMutex
	byName map[string]*topic
	stored stored // guarded by mu
}

// A topic is guarded by topics.mu, except its name and shrinkage.
type topic struct {
	name    string
	owner   string        // who created it
	counted bool          // among the names of its owner
	trimmed atomic.Uint64 // the position after the last trimmed block; set under mu
	changed bool          // since the last checkpoint

	blocks, records, bytes uint64
	first, next            uint64 // positions of the first block, and after the last
	oldest, newest         int64  // when the store accepted them

	shrinkage store.Shrinkage // of its blocks; safe for concurrent use
}

// topic returns a topic, which it creates if necessary.
func (s *Store) topic(name string) *topic {
	s.topics.mu.RLock()
	t := s.topics.byName[name]
	s.topics.mu.RUnlock()
	if t != nil {
		return t
	}
	s.topics.mu.Lock()
	defer s.topics.mu.Unlock()
	if t = s.topics.byName[name]; t == nil {
		t = &topic{name: strings.Clone(name)}
		s.topics.byName[t.name] = t
	}
	return t
}

// add counts a block. topics.mu is held.
func (t *topic) add(pos, records, bytes uint64, time int64) {
	if t.blocks == 0 {
		t.first, t.oldest = pos, time
	}
	t.blocks++
	t.records += records
	t.bytes += bytes
	t.next, t.newest = max(t.next, pos+1), time
	t.changed = true
}

// own sets the owner of a topic, and counts the topic once. topics.mu is held.
func (s *Store) own(t *topic, owner string) {
	if !t.counted {
		t.owner, t.counted = strings.Clone(owner), true
		s.quotas.topics.Add(t.owner, 1)
	}
}

// encode returns the topic's state. topics.mu is held.
func (t *topic) encode() []byte {
	b := binary.AppendUvarint(nil, t.trimmed.Load())
	for _, n := range []uint64{t.blocks, t.records, t.bytes, t.first, t.next} {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendVarint(b, t.oldest)
	b = binary.AppendVarint(b, t.newest)
	return append(b, t.owner...)
}

// decode is the inverse of encode.
func (t *topic) decode(b []byte) {
	d := decoder{rest: b}
	t.trimmed.Store(d.uvarint())
	for _, p := range []*uint64{&t.blocks, &t.records, &t.bytes, &t.first, &t.next} {
		*p = d.uvarint()
	}
	t.oldest, t.newest = d.varint(), d.varint()
	t.owner = string(d.rest)
}

// saveTopics writes the changed topics into the states, and how much each principal has
// stored. states.mu is held.
func (s *Store) saveTopics() {
	s.topics.mu.Lock()
	defer s.topics.mu.Unlock()
	for name, t := range s.topics.byName {
		if t.changed {
			s.states.set(topicKey(name), s.states.seq, t.encode())
			t.changed = false
		}
	}
	s.topics.stored.save(s.states)
}

func topicKey(name string) string { return string(rune(prefixTopic)) + name }

// everyTopic matches all topics.
var everyTopic = store.NewPatterns(nil)

// matching returns the topics that match, in order of name.
func (t *topics) matching(patterns *store.Patterns) []*topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []*topic
	for _, tp := range store.Named(patterns, t.byName) {
		if tp.next > 0 {
			all = append(all, tp)
		}
	}
	slices.SortFunc(all, func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
	return all
}

// Topics implements [store.Log].
func (s *Store) Topics(ctx context.Context, patterns ...string) ([]store.TopicStat, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	all := s.topics.matching(store.NewPatterns(patterns))
	s.topics.mu.RLock()
	defer s.topics.mu.RUnlock()
	stats := make([]store.TopicStat, len(all))
	for i, t := range all {
		stat := store.TopicStat{
			Name: t.name, Blocks: t.blocks, Records: t.records, Bytes: t.bytes,
			First: s.position(t.first), Next: s.position(t.next), Oldest: stamp(t.oldest), Newest: stamp(t.newest),
		}
		if t.blocks == 0 {
			stat.First, stat.Oldest, stat.Newest = stat.Next, time.Time{}, time.Time{}
		}
		stats[i] = stat
	}
	return stats, nil
}

func stamp(t int64) time.Time { return time.Unix(0, t).UTC() }

// Head implements [store.Log].
func (s *Store) Head(ctx context.Context) (store.Position, error) {
	if err := s.enter(ctx); err != nil {
		return store.Position{}, err
	}
	defer s.leave()
	return s.position(s.topics.head.Load()), nil
}

// CheckPosition implements [store.Log].
func (s *Store) CheckPosition(ctx context.Context, p store.Position) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	return s.within(p)
}

// Seek implements [store.Log].
func (s *Store) Seek(ctx context.Context, t time.Time) (store.Position, error) {
	if err := s.enter(ctx); err != nil {
		return store.Position{}, err
	}
	defer s.leave()
	head := s.topics.head.Load()
	want := t.UnixNano()
	if t.Year() < 1971 {
		want = 0
	}
	at := uint64(0) // blocks before it are too old
	for _, g := range s.segments.list() {
		if err := s.withIndex(g, func(x *index) error {
			i := sort.Search(len(x.chunks), func(i int) bool { return x.chunks[i].time >= want })
			if i > 0 {
				at = max(at, x.chunks[i-1].pos)
			}
			return nil
		}); err != nil && !s.freed(g, err) {
			return store.Position{}, unavailable(err)
		}
	}
	found := head
	var scratch store.Block
	err := s.walk(at, head, everyTopic, func(f *frame, it *item, pos uint64) bool {
		if f.time < want || s.isTrimmed(topicOf(&scratch, it), pos) {
			return true
		}
		found = pos
		return false
	})
	return s.position(found), err
}

// A located is the place of a block.
type located struct {
	pos  uint64
	time int64
}

// walk calls yield with the blocks of the topics between two positions, until it returns
// false. Unreadable ones are skipped.
func (s *Store) walk(from, below uint64, topics *store.Patterns, yield func(f *frame, it *item, pos uint64) bool) error {
	visit := func(f *frame, it *item, pos uint64) bool {
		from = pos + 1
		return yield(f, it, pos)
	}
	for from < below {
		g := s.segments.after(from)
		if g == nil || g.Position >= below {
			return nil
		}
		end := g.end.Load()
		more, err := s.walkSegment(g, from, below, topics, visit)
		switch {
		case s.freed(g, err): // what is left of it is in another file
			continue
		case err != nil || !more:
			return err
		}
		from = max(from, end)
	}
	return nil
}

func (s *Store) walkSegment(g *segment, from, below uint64, topics *store.Patterns, yield func(f *frame, it *item, pos uint64) bool) (more bool, err error) {
	if g.Lost != "" {
		return true, nil
	}
	spans, err := s.spans(g, from, topics)
	if err != nil {
		return false, err
	}
	for _, sp := range spans {
		if more, err := s.walkSpan(g, sp, from, below, yield); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (s *Store) walkSpan(g *segment, sp part, from, below uint64, yield func(f *frame, it *item, pos uint64) bool) (more bool, err error) {
	sc, err := s.scan(g, sp.from, sp.to)
	if err != nil {
		return false, err
	}
	defer sc.close()
	sc.heads, sc.pos, sc.gaps = true, sp.pos, true
	for sc.next() {
		if sc.damage != nil {
			continue
		}
		for pos, it := range sc.frame.blocks() {
			if pos >= below || pos >= from && !yield(&sc.frame, it, pos) {
				return false, nil
			}
		}
	}
	return true, sc.err
}

// topicOf returns the topic of a block.
func topicOf(scratch *store.Block, it *item) string {
	if _, err := scratch.PeekHead(it.data[:it.head]); err != nil {
		return damagedTopic
	}
	return scratch.Topic
}

// A part is a part of a segment that a reader must look at.
type part struct {
	from, to int64
	pos, end uint64 // positions of the first block, and after the last
}

// part returns the part of the segment that a chunk is.
func (x *index) part(c int, g *segment) part {
	p := part{x.chunks[c].off, g.size.Load(), x.chunks[c].pos, g.end.Load()}
	if c+1 < len(x.chunks) {
		p.to, p.end = min(p.to, x.chunks[c+1].off), x.chunks[c+1].pos
	}
	return p
}

// spans returns the parts of a segment with blocks of topics from a position on, in
// order. Neighbouring chunks are one part. A small last chunk is always included:
// following readers come back to it often, and looking through its many topics would cost
// more.
func (s *Store) spans(g *segment, from uint64, topics *store.Patterns) (parts []part, err error) {
	size := g.size.Load() // before the index, so that nothing is missed
	err = s.withIndex(g, func(x *index) error {
		if len(x.chunks) == 0 {
			return nil
		}
		begin := x.find(from)
		if last := begin == len(x.chunks)-1; topics.Every() || last && size-x.chunks[begin].off <= 2*chunkBytes {
			parts = append(parts, part{x.chunks[begin].off, size, x.chunks[begin].pos, g.end.Load()})
			return nil
		}
		in := make(map[int]bool)
		for _, h := range x.matching(topics) {
			i := sort.Search(len(h.in), func(i int) bool { return h.in[i].chunk >= begin })
			for _, sh := range h.in[i:] {
				in[sh.chunk] = true
			}
		}
		for _, c := range slices.Sorted(maps.Keys(in)) {
			p := x.part(c, g)
			if p.from >= p.to {
				continue
			}
			if n := len(parts); n > 0 && parts[n-1].to == p.from {
				parts[n-1].to, parts[n-1].end = p.to, p.end
			} else {
				parts = append(parts, p)
			}
		}
		return nil
	})
	return parts, err
}

// matching returns what the segment holds of matching topics, and what can't be read.
func (x *index) matching(topics *store.Patterns) (all []*held) {
	if h := x.topics[damagedTopic]; h != nil {
		all = append(all, h)
	}
	for name, h := range store.Named(topics, x.topics) {
		if name != damagedTopic {
			all = append(all, h)
		}
	}
	return all
}
