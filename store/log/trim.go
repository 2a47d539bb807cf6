package log

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// Keep is the retention of a topic. The zero value keeps everything.
type Keep = store.Keep

// DefaultKeep keeps everything, except rejected records, of which it keeps 7 days and at
// most 256 MiB.
func DefaultKeep(topic string) Keep {
	if topic == store.Rejected {
		return Keep{Age: 7 * 24 * time.Hour, Bytes: 256 << 20}
	}
	return Keep{}
}

// Trim implements [store.Log].
func (s *Store) Trim(ctx context.Context, name string, before store.Position) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	if err := s.within(before); err != nil {
		return err
	}
	s.topics.mu.RLock()
	t := s.topics.byName[name]
	s.topics.mu.RUnlock()
	if t == nil {
		return nil
	}
	return s.trim(t, before.Block)
}

// trim deletes a topic's blocks before a position. trimMu is held.
func (s *Store) trim(t *topic, before uint64) error {
	if before <= t.trimmed.Load() {
		return nil
	}
	c, err := s.cut(t, before)
	if err != nil || c.blocks == 0 { // blocks that came meanwhile are not trimmed
		return err
	}
	m := newCommit()
	m.vital = true
	m.addEntry(topicKey(t.name), binary.AppendUvarint(nil, c.to))
	if err := s.commitNew(m); err != nil {
		return err
	}
	c.apply(s, t)
	s.topics.mu.RLock()
	lost := t.blocks > 0 && t.first == 0
	s.topics.mu.RUnlock()
	if lost { // the first block came meanwhile
		first, err := s.firstOf(t.name, c.to)
		if err != nil {
			return err
		}
		s.topics.mu.Lock()
		if t.first, t.oldest = first.pos, first.time; t.first == 0 { // what damage hid is gone, too
			t.blocks, t.records, t.bytes = 0, 0, 0
		}
		s.topics.mu.Unlock()
	}
	s.stir()
	return nil
}

// A cut is what a trim removes.
type cut struct {
	to                     uint64 // the position after the last block
	blocks, records, bytes uint64
	by                     shares  // the weight of the blocks
	first                  located // the first block that is left, or zero
}

// cut returns what a trim of a topic before a position removes. For segments that lose
// all their blocks, the index tells; others are read.
func (s *Store) cut(t *topic, before uint64) (c cut, err error) {
	s.topics.mu.RLock()
	from, blocks := t.first, t.blocks
	s.topics.mu.RUnlock()
	from = max(from, t.trimmed.Load())
	if blocks == 0 {
		return c, nil
	}
	var scratch store.Block
	for _, g := range s.segments.list() {
		if g.end.Load() <= from || g.Position >= before {
			continue
		}
		var edges []part
		if err := s.withIndex(g, func(x *index) error {
			h := x.topics[t.name]
			if h == nil || h.last < from || h.first >= before {
				return nil
			}
			if h.first >= from && h.last < before {
				c.whole(h)
				return nil
			}
			for _, sh := range h.in {
				if p := x.part(sh.chunk, g); p.end > from && p.pos < before {
					edges = append(edges, p)
				}
			}
			return nil
		}); err != nil {
			return c, err
		}
		for _, p := range edges {
			if _, err := s.walkSpan(g, p, from, before, func(_ *frame, it *item, pos uint64) bool {
				if topicOf(&scratch, it) == t.name {
					c.to = pos + 1
					c.blocks, c.records, c.bytes = c.blocks+1, c.records+it.records, c.bytes+it.bytes
					c.by.add(names.Owner(&scratch), weigh(len(it.data)))
				}
				return true
			}); err != nil {
				return c, err
			}
		}
	}
	if c.blocks == 0 {
		return c, nil
	}
	c.first, err = s.firstOf(t.name, max(from, c.to))
	return c, err
}

// whole adds everything that a segment holds of the topic.
func (c *cut) whole(h *held) {
	c.to = h.last + 1
	for _, sh := range h.in {
		c.blocks, c.records, c.bytes = c.blocks+sh.blocks, c.records+sh.records, c.bytes+sh.bytes
	}
	for _, o := range h.by {
		c.by.add(o.owner, o.bytes)
	}
}

// firstOf returns the first block of a topic from a position on, or a zero located.
func (s *Store) firstOf(topic string, from uint64) (b located, err error) {
	var scratch store.Block
	err = s.walk(from, s.topics.head.Load(), store.NewPatterns([]string{topic}), func(f *frame, it *item, pos uint64) bool {
		if topicOf(&scratch, it) != topic {
			return true
		}
		b = located{pos, f.time}
		return false
	})
	return b, err
}

// apply subtracts the cut from the topic's figures.
func (c cut) apply(s *Store, t *topic) {
	s.topics.mu.Lock()
	defer s.topics.mu.Unlock()
	t.trimmed.Store(c.to)
	t.blocks, t.records, t.bytes = minus(t.blocks, c.blocks), minus(t.records, c.records), minus(t.bytes, c.bytes)
	t.first, t.oldest = c.first.pos, c.first.time
	t.changed = true
	s.topics.stored.take(c.by)
	s.topics.trimmed.Store(max(s.topics.trimmed.Load(), c.to))
	s.topics.trims.Add(1)
}

// minus returns a−b, or zero if damage has hidden some of a.
func minus(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// keep does periodic work until the store is closed.
func (s *Store) keep() {
	var tick <-chan time.Time
	if s.opts.KeepEvery > 0 {
		t := time.NewTicker(s.opts.KeepEvery)
		defer t.Stop()
		tick = t.C
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		var again <-chan time.Time
		if s.reserve.isShort() { // appends wait for room
			again = time.After(lookEvery)
		}
		select {
		case <-s.done:
			return
		case <-s.broken:
			return
		case <-again:
			_ = s.reclaim(ctx)
		case <-tick:
			_ = s.trimAll(ctx) // it is tried again later
		case <-s.tidy:
			_ = s.reclaim(ctx)
		}
		select { // do not block the sender
		case s.sparse <- struct{}{}:
		default:
		}
	}
}

// rewriteAll rewrites segments until the store is closed.
func (s *Store) rewriteAll() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-s.done:
			return
		case <-s.broken:
			return
		case <-s.sparse:
			_ = s.rewriteSparse(ctx, true) // it is tried again later
		}
	}
}

// Tidy trims records beyond their retention, forgets expired producers, and frees disk
// space, as happens every Options.KeepEvery.
func (s *Store) Tidy(ctx context.Context) error {
	return errors.Join(s.trimAll(ctx), s.rewriteSparse(ctx, false))
}

// trimAll is Tidy without the rewriting of segments.
func (s *Store) trimAll(ctx context.Context) error {
	var errs []error
	for _, t := range s.topics.matching(everyTopic) {
		errs = append(errs, s.keepTopic(ctx, t))
	}
	return errors.Join(append(errs, s.forgetOld(ctx), s.reclaim(ctx))...)
}

func (s *Store) keepTopic(ctx context.Context, t *topic) error {
	k := s.opts.Keep(t.name)
	if k == (Keep{}) {
		return nil
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	oldest := s.clock.Expiry().Add(-k.Age).UnixNano()
	s.topics.mu.RLock()
	first, total, due := t.first, t.bytes, t.blocks > 0 && (k.Bytes > 0 && t.bytes > k.Bytes || k.Age > 0 && t.oldest < oldest)
	s.topics.mu.RUnlock()
	if !due {
		return nil
	}
	before, head := s.topics.head.Load(), s.topics.head.Load()
	var scratch store.Block
	if err := s.walk(first, head, store.NewPatterns([]string{t.name}), func(f *frame, it *item, pos uint64) bool {
		if topicOf(&scratch, it) != t.name {
			return true
		}
		if (k.Age == 0 || f.time >= oldest) && (k.Bytes == 0 || total <= k.Bytes) {
			before = pos
			return false
		}
		total = minus(total, it.bytes)
		return true
	}); err != nil {
		return err
	}
	return s.trim(t, before)
}

// reclaim makes a checkpoint if one is due, and removes segments in which everything is
// trimmed.
//
// What such a segment says of producers, cursors and topics is written into the log again
// first, so that the log alone still says everything.
func (s *Store) reclaim(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if f := s.failed(); f != nil {
		return f
	}
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	defer s.holdRoom() // once the room is no longer used
	dead, err := s.dead()
	if err != nil {
		return err
	}
	if len(dead) == 0 {
		if (s.states.due() || s.behind() > maxReplay) && !s.reserve.lacks(roomToCheckpoint) {
			return s.checkpoint()
		}
		return nil
	}
	last := uint64(0)
	for _, g := range dead {
		last = max(last, g.Last)
	}
	defer s.reserve.use(roomToCheckpoint)()
	if err := s.outlive(last); err != nil {
		return err
	}
	return s.free(dead)
}

// outlive makes sure that the frames up to one are no longer needed for the states that
// they set: these are in the engine, durably, and written again in the log, in case the
// engine is lost. trimMu is held.
func (s *Store) outlive(last uint64) error {
	room := int64(roomToCheckpoint)
	if last > s.carried {
		room += s.carriedBytes
	}
	s.reserve.spend(room)
	if err := s.checkpoint(); err != nil || last <= s.carried {
		return err
	}
	return s.carry()
}

// roomToCheckpoint is the disk space that a checkpoint needs, in bytes.
const roomToCheckpoint = 4 << 20

// maxReplay is the most bytes of the log that an opening after a crash should have to
// read again.
const maxReplay = 64 << 20

// behind returns about how many bytes of the log were written since the last checkpoint.
func (s *Store) behind() (n int64) {
	s.states.mu.Lock()
	durable := s.states.durable
	s.states.mu.Unlock()
	for _, g := range slices.Backward(s.segments.list()) {
		g.mu.RLock()
		last, size := g.Last, g.size.Load()
		g.mu.RUnlock()
		if last > 0 && last <= durable {
			break
		}
		n += size
	}
	return n
}

// checkpoint makes the states durable.
func (s *Store) checkpoint() error {
	if s.states.due() && s.reserve.lacks(minHeld) { // a failed write would blow the fuse
		return fmt.Errorf("%w: no room for a checkpoint", store.ErrUnavailable)
	}
	return s.states.checkpoint(s.head.Log, s.forgettable(), func() {
		s.saveTopics()
		s.quotas.save(s.states)
	})
}

// forgettable returns a sequence number: keys that were deleted before it can be forgotten,
// since no frame that is left mentions them.
func (s *Store) forgettable() uint64 {
	list := s.segments.list()
	if len(list) == 0 || list[0].First <= s.carriedFrom {
		return 0
	}
	return list[0].First
}

// dead returns the sealed segments in which everything is trimmed.
func (s *Store) dead() (dead []*segment, err error) {
	for _, g := range s.segments.list() {
		if !g.isSealed() {
			continue
		}
		is, err := s.isDead(g)
		if err != nil {
			return nil, err
		}
		if is {
			dead = append(dead, g)
		}
	}
	return dead, nil
}

// carry writes all states into the log again, so that no earlier frame is needed for
// them.
func (s *Store) carry() error {
	s.states.mu.Lock()
	upTo := s.states.seq
	s.states.mu.Unlock()
	forget := s.forgettable()
	written := int64(0)
	m := newCommit()
	var bad error
	var old []string // deleted keys that can be forgotten
	flush := func() {
		if len(m.table) > 0 {
			m.vital = true
			bad = s.commitNew(m)
			written += int64(m.size())
			m = newCommit()
		}
	}
	for _, prefix := range []byte{prefixCursor, prefixForgot, prefixImport, prefixProducer, prefixRejected, prefixTopic} {
		if err := s.states.scan(string(rune(prefix)), string(rune(prefix+1)), func(key string, v value) bool {
			if v.data == nil && v.seq < forget {
				old = append(old, key)
				return true
			}
			if v.seq > upTo {
				return true
			}
			from := len(m.buf)
			m.buf = binary.AppendUvarint(m.buf, v.seq)
			m.buf = appendString(m.buf, key)
			if v.data != nil {
				m.buf = append(append(m.buf, 1), v.data...)
			} else {
				m.buf = append(m.buf, 0)
			}
			m.addItem(kindCarry, from)
			if len(m.buf) >= maxCopy {
				flush()
			}
			return bad == nil
		}); err != nil {
			return err
		}
	}
	if flush(); bad != nil {
		return bad
	}
	s.states.purge(old)
	s.carried, s.carriedBytes = upTo, written
	s.carriedFrom = s.committer.synced.Load()
	return nil
}

// free notes in the log that segments are no longer needed, and removes their files.
func (s *Store) free(dead []*segment) error {
	var numbers []uint64
	for _, g := range dead {
		if g.Number > 0 {
			numbers = append(numbers, g.Number)
		}
	}
	m := newCommit()
	// From then on, the headers of new segments do not list them.
	m.vital, m.says, m.then = true, said{frees: numbers}, func() { s.segments.replace(dead) }
	from := len(m.buf)
	m.buf = appendNumbers(m.buf, numbers)
	m.addItem(kindFree, from)
	if err := s.commitNew(m); err != nil {
		return err
	}
	s.removeFiles(dead)
	return nil
}

// removeFiles removes the files of unneeded segments. The next opening removes whatever
// is left.
func (s *Store) removeFiles(gone []*segment) {
	for _, g := range gone {
		if g.Lost != "" {
			continue
		}
		if err := s.fs.Remove(s.path(g.name())); err != nil && s.opts.Logger != nil {
			s.opts.Logger.Warn("a segment that is not needed any more can't be removed", "segment", g.name(), "error", err)
		}
		_ = s.fs.Remove(s.path(fileName(g.Number, g.Revision, indexSuffix)))
	}
}
