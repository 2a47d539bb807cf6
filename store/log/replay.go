package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// replay brings the states up to date with the log.
//
// Unreadable parts of sealed segments that no header mentions are noted in hidden:
// otherwise nobody would notice that numbers, cursors or rejections were lost with them.
func (s *Store) replay(r *recovery, applied uint64, rebuild bool) error {
	if err := s.loadTopics(); err != nil {
		return err
	}
	if err := s.quotas.load(s.states); err != nil {
		return err
	}
	counted := s.isCounted()
	p := &replayer{s: s, rebuild: rebuild, producers: map[store.Producer]*replayed{}, unread: map[string]lostState{}, forgot: map[string]uint64{}}
	for _, g := range s.segments.list() {
		last := g.Last
		if last == 0 {
			last = s.committer.seq - 1
		}
		if last <= applied || g.Lost != "" {
			continue
		}
		p.sealed = slices.Contains(r.old, g)
		from, mark := r.after(g, applied)
		if err := p.segment(g, from, mark, applied); err != nil {
			return err
		}
	}
	p.flush()
	if err := errors.Join(p.tell(), p.dropForgotten()); err != nil {
		return err
	}
	if c, err := s.imported(); err != nil {
		return err
	} else if c != (store.Copied{}) || s.opts.Import {
		s.half.Store(!c.Complete)
	}
	s.states.mu.Lock()
	s.states.seq = s.committer.seq - 1
	s.states.mu.Unlock()
	if rebuild || r.salvages() || !counted {
		return s.recount()
	}
	return nil
}

// loadTopics loads the topics from the states, and how much each principal has stored.
func (s *Store) loadTopics() error {
	s.topics.trims.Store(1)
	if err := s.topics.stored.load(s.states); err != nil {
		return err
	}
	return s.states.scan(string(rune(prefixTopic)), string(rune(prefixTopic+1)), func(key string, v value) bool {
		t := &topic{name: key[1:]}
		t.decode(v.data)
		s.own(t, t.owner)
		s.topics.byName[t.name] = t
		s.topics.trimmed.Store(max(s.topics.trimmed.Load(), t.trimmed.Load()))
		return true
	})
}

// A replayer applies the frames of the log to the states.
type replayer struct {
	s       *Store
	rebuild bool
	sealed  bool // invalid bytes in the segment are damage that was not reported
	block   store.Block

	// producers holds changes by blocks that are not in the states yet. Most frames have
	// one, and only the last one of each producer counts.
	producers map[store.Producer]*replayed

	unread map[string]lostState // by key
	forgot map[string]uint64    // the frames that say so, by forgotKey
}

// A lostState is the state of a key that stands in a damaged part of a sealed segment.
type lostState struct {
	g *segment
	h *hole
}

// tell notes the damage that has cost a state: no later frame has it.
func (p *replayer) tell() error {
	for _, key := range slices.Sorted(maps.Keys(p.unread)) { // so that it is told in the same order again
		lost := p.unread[key]
		v, err := p.s.states.get(key)
		if err != nil {
			return err
		}
		forgot, err := p.s.states.get(forgotKeyOf(key))
		if err != nil {
			return err
		}
		if max(v.seq, forgot.seq) < lost.h.first {
			p.s.hide(lost.g, lost.h)
		}
	}
	return nil
}

// dropForgotten deletes the rejections of forgotten producers.
func (p *replayer) dropForgotten() error {
	if len(p.forgot) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(p.forgot))
	from, below := string(rune(prefixRejected))+names[0][1:], string(rune(prefixRejected))+names[len(names)-1][1:]+"\x01"
	old := map[string]uint64{}
	if err := p.s.states.scan(from, below, func(key string, v value) bool {
		if seq := p.forgot[forgotKeyOf(key)]; v.data != nil && v.seq < seq {
			old[key] = seq
		}
		return true
	}); err != nil {
		return err
	}
	for key, seq := range old {
		p.s.states.put(key, seq, nil)
	}
	return nil
}

// maxReplayed is how many producers are held outside the states.
const maxReplayed = 4096

// A replayed is a producer according to the blocks.
type replayed struct {
	key    string
	before []byte // its value in the states
	state  store.ProducerState
	seq    uint64 // of the last frame
}

// producer returns the producer of a block.
func (p *replayer) producer(name store.Producer) (*replayed, error) {
	if r := p.producers[name]; r != nil {
		return r, nil
	}
	r := &replayed{key: producerKey(name)}
	v, err := p.s.states.get(r.key)
	if err != nil {
		return nil, err
	}
	if r.before = v.data; v.data != nil {
		if r.state, err = decodeState(v.data); err != nil {
			return nil, err
		}
	}
	if r.state.Expire == 0 {
		r.state.Expire = store.Expire
	}
	if len(p.producers) >= maxReplayed {
		p.flush()
	}
	p.producers[name] = r
	return r, nil
}

// flush writes the producers to the states.
func (p *replayer) flush() {
	for _, r := range p.producers {
		p.put(r.key, r.seq, r.before, appendState(nil, r.state))
	}
	clear(p.producers)
}

func (p *replayer) segment(g *segment, from int64, mark *mark, applied uint64) error {
	sc, err := p.s.scan(g, from, g.size.Load())
	if err != nil {
		return err
	}
	defer sc.close()
	sc.gaps = sc.gaps || !p.sealed
	if mark != nil {
		sc.seq, sc.pos = mark.Last+1, mark.End
	}
	for sc.next() {
		if d := sc.damage; d != nil && !d.known {
			if p.sealed && (p.rebuild || d.last == 0 || d.last > applied) {
				p.s.hide(g, d)
			}
			continue
		}
		if sc.frame.seq <= applied {
			continue
		}
		if err := p.frame(g, sc); err != nil {
			return err
		}
	}
	return sc.err
}

// hide notes that a part of a sealed segment can't be read.
func (s *Store) hide(g *segment, h *hole) {
	d := Damage{From: h.from, To: max(h.from, h.to), Text: fmt.Sprintf("%s at %d: %v", g.name(), h.off, h.err)}
	if h.last == 0 {
		d.To = max(h.from, g.End)
	}
	if !slices.Contains(s.hidden, d) && !slices.Contains(s.head.Damage, d) {
		s.hidden = append(s.hidden, d)
	}
}

func (p *replayer) frame(g *segment, sc *scanner) error {
	f := &sc.frame
	pos := f.pos
	for i := range f.items {
		it := &f.items[i]
		switch it.kind {
		case kindBlock, kindRejected, kindImported:
			unread, err := p.replayBlock(f, it, pos)
			if err != nil {
				return err
			}
			if unread != "" && sc.damage != nil && p.sealed {
				p.unread[unread] = lostState{g, sc.damage}
			}
		case kindEntry:
			if key, data, ok := cutString(it.data); ok {
				if err := p.entry(string(key), f.seq, data); err != nil {
					return err
				}
			}
		case kindCarry:
			if err := p.carry(it.data); err != nil {
				return err
			}
		}
		pos += it.positions()
	}
	return nil
}

// replayBlock applies a block to its topic and its producer. It returns the key of its
// rejections if they can't be read: they are the only state in the body of a block.
func (p *replayer) replayBlock(f *frame, it *item, pos uint64) (unread string, err error) {
	b, s := &p.block, p.s
	if _, err := b.PeekHead(it.data[:it.head]); err != nil {
		return "", nil //nolint:nilerr // readers report it
	}
	t := s.topic(b.Topic)
	s.own(t, names.Owner(b))
	if !p.rebuild {
		t.add(pos, it.records, it.bytes, f.time)
		s.topics.stored.add(names.Owner(b), weigh(len(it.data)))
	}
	t.next = max(t.next, pos+1)
	if b.Producer.IsZero() || it.kind == kindImported {
		return "", nil
	}
	r, err := p.producer(b.Producer)
	if err != nil {
		return "", err
	}
	st := &r.state
	st.Epoch, st.Seen, st.Note = max(st.Epoch, b.Epoch), stamp(f.time), append(st.Note[:0], b.Note...)
	st.Next, r.seq = max(st.Next, b.First+it.records), f.seq
	if it.kind == kindRejected {
		key := rejectedKey(b.Producer, b.First)
		if b.Decode(it.data) != nil {
			return key, nil //nolint:nilerr // see tell
		}
		s.states.put(key, f.seq, store.AppendRejections(nil, b.Rejected))
	}
	return "", nil
}

// put sets a state, and counts a name that is added or removed.
func (p *replayer) put(key string, seq uint64, before, data []byte) {
	s, by := p.s, 0
	switch {
	case s.quotas.of(key[0]) == nil:
	case before == nil && data != nil:
		by = 1
	case before != nil && data == nil:
		by = -1
	}
	s.states.mu.Lock()
	defer s.states.mu.Unlock()
	s.states.set(key, seq, data)
	s.quotas.count(key, by)
}

// entry applies a frame's change of a state.
func (p *replayer) entry(key string, seq uint64, data []byte) error {
	if len(key) == 0 {
		return nil
	}
	if len(data) == 0 {
		data = nil
	}
	if key[0] == prefixProducer {
		p.flush()
	}
	s := p.s
	switch key[0] {
	case prefixTopic:
		to, _ := binary.Uvarint(data)
		t := s.topic(key[1:])
		if to <= t.trimmed.Load() {
			return nil
		}
		if p.rebuild {
			t.trimmed.Store(to)
			t.next = max(t.next, to)
			s.topics.trimmed.Store(max(s.topics.trimmed.Load(), to))
		} else if c, err := s.cut(t, to); err == nil {
			c.to = to
			c.apply(s, t)
		}
		return nil
	case prefixProducer:
		if state, err := decodeState(data); err == nil {
			s.states.put(expiryKey(state, key), seq, []byte{})
		}
	case prefixForgot:
		p.forgot[key] = seq
	}
	v, err := s.states.get(key)
	if err != nil {
		return err
	}
	p.put(key, seq, v.data, data)
	return nil
}

// carry sets a state as an older frame did, unless a newer frame has set it.
func (p *replayer) carry(b []byte) error {
	d := decoder{rest: b}
	seq, key := d.uvarint(), d.string()
	rest := d.rest
	if d.bad || len(rest) == 0 || len(key) == 0 {
		return nil
	}
	if key[0] == prefixTopic {
		if !p.rebuild {
			return nil
		}
		var was topic
		was.decode(rest[1:])
		p.s.own(p.s.topic(string(key[1:])), was.owner)
	}
	switch key[0] {
	case prefixProducer:
		p.flush()
	case prefixRejected: // perhaps of a producer that was forgotten since
		if forgot, err := p.s.states.get(forgotKeyOf(string(key))); err != nil || forgot.seq > seq {
			return err
		}
	}
	v, err := p.s.states.get(string(key))
	if err != nil || v.seq > seq || v.seq == seq && !p.rebuild { // a block in the same frame says less about its producer
		return err
	}
	if rest[0] == 0 {
		return p.entry(string(key), seq, nil)
	}
	return p.entry(string(key), seq, rest[1:])
}

// salvages reports whether damage is to be accepted: what was lost is then no longer
// counted in its topics.
func (r *recovery) salvages() bool {
	return r.s.opts.Salvage && r.newest != nil && len(r.damages)+len(r.newest.Damage) > 0
}

// recount recounts the content of the topics, and how much each principal has stored,
// from all segments.
func (s *Store) recount() error {
	s.topics.stored.clear()
	for _, t := range s.topics.byName {
		t.blocks, t.records, t.bytes, t.changed = 0, 0, 0, true
	}
	var scratch store.Block
	return s.walk(0, s.topics.head.Load(), everyTopic, func(f *frame, it *item, pos uint64) bool {
		if t := s.topic(topicOf(&scratch, it)); pos >= t.trimmed.Load() && t.name != damagedTopic {
			t.add(pos, it.records, it.bytes, f.time)
			s.topics.stored.add(names.Owner(&scratch), weigh(len(it.data)))
		}
		return true
	})
}
