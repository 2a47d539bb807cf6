package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/steady"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/names"
)

// recover opens the log that a recovery has listed the files of.
func (s *Store) recover(r *recovery) error {
	s.weaken()
	if err := s.reserve.open(s.fs, s.dir, s.opts.Reserve); err != nil {
		return err
	}
	s.reserve.spend(roomToCheckpoint) // what an opening writes, and so much more
	if err := r.readHeads(); err != nil {
		return err
	}
	switch { // the first segment is there before all else
	case r.fresh:
		if err := s.start(r); err != nil {
			return err
		}
	case !r.used: // a process was killed before it knew that
		if err := r.syncFiles(); err != nil {
			return err
		}
	}
	applied, rebuild, err := s.openStates(r)
	if err != nil {
		return err
	}
	if !r.fresh {
		if err := r.judge(applied, rebuild); err != nil {
			return err
		}
		if len(r.missing) > 0 && !s.opts.Salvage {
			return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(r.missing, "; "))
		}
		if err := s.start(r); err != nil {
			return err
		}
	}
	told := len(s.hidden)
	if err := s.know(r, applied, rebuild); err != nil {
		return err
	}
	if len(s.hidden) > told {
		return errHidden
	}
	if len(r.damages) == 0 {
		r.discard()
	}
	if s.opts.Salvage { // what is accepted is not come upon again
		if err := s.checkpoint(); err != nil {
			return err
		}
	}
	if r.copied {
		if err := errors.Join(s.fs.Remove(s.path(backupName)), syncDir(s.fs, s.dir)); err != nil {
			return err
		}
	}
	s.tellDamage()
	s.holdRoom()
	s.keeper.Go(s.keep)
	s.keeper.Go(s.rewriteAll)
	return nil
}

// weaken promises less where the disk is memory.
func (s *Store) weaken() {
	if vfs.Root(s.opts.FS) == vfs.Default && inMemory(s.dir) {
		s.opts.Durability = store.OS
	}
}

func (s *Store) tellDamage() {
	if s.opts.Damaged != nil {
		for _, d := range s.damages {
			s.opts.Damaged(d)
		}
	}
}

// judge finds out how far the log goes, and what is damaged. The states have all up to
// the frame applied, or are to be made anew.
func (r *recovery) judge(applied uint64, rebuild bool) error {
	if !rebuild {
		r.promise = max(r.promise, applied)
	}
	b, err := readAll(r.s.fs, r.s.path(slotsName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, h := range r.heads {
		r.promise = max(r.promise, promised(b, h.Log))
		break
	}
	if err := r.choose(); err != nil {
		return err
	}
	r.damages = slices.Clone(r.s.hidden)
	return r.collect()
}

// know makes what is in memory follow from the log and the states.
func (s *Store) know(r *recovery, applied uint64, rebuild bool) error {
	var newest time.Time
	if r.time > 0 {
		newest = stamp(r.time)
	}
	s.clock = steady.New(s.opts.Now, newest, s.opts.Logger)
	s.producers.init()
	s.cursors.seed = maphash.MakeSeed()
	return s.replay(r, applied, rebuild)
}

// openStates opens the states, and says up to which frame they follow from the
// log. Where they can't be read, or are of another log, they are made anew.
func (s *Store) openStates(r *recovery) (applied uint64, rebuild bool, err error) {
	dir := s.path(statesName)
	if s.states, err = openStates(s.fs, dir, s.opts.ReadOnly); err == nil {
		var of string
		of, applied, err = s.states.applied()
		ours := len(r.heads) == 0 && of == ""
		for _, h := range r.heads {
			ours = ours || h.Log == of
		}
		if err == nil && ours {
			err = s.states.verify(r)
		}
		if err == nil && ours {
			s.states.durable = applied
			return applied, false, nil
		}
		if err := s.states.close(); err != nil {
			return 0, false, err
		}
		s.states = nil
	}
	anew := s.fs
	if s.opts.ReadOnly {
		anew = vfs.NewMem()
	} else if err := s.fs.RemoveAll(dir); err != nil {
		return 0, false, err
	}
	s.states, err = openStates(anew, dir, false)
	return 0, true, err
}

// start begins the opening: a segment of its own, with the frames that are to be
// written anew, and its successor.
func (s *Store) start(r *recovery) error {
	h, again, err := r.begin()
	if err != nil {
		return err
	}
	if h.Tag == "" || s.opts.Restored || r.copied {
		h.Tag = store.NewTag()
	}
	s.begin(h, r.time)
	c := &s.committer
	if err := r.syncOld(); err != nil {
		return err
	}
	g, err := s.makeSegment(h, s.segmentSize(0))
	if err != nil {
		return err
	}
	c.active, c.off = g, g.Start
	if err := g.wait(); err != nil {
		return err
	}
	for _, w := range again {
		if err := s.writeAgain(w.b); err != nil {
			return err
		}
	}
	if err := g.file.SyncData(); err != nil {
		return err
	}
	for _, old := range r.live {
		s.segments.add(old)
	}
	s.segments.add(g)
	if c.successor, err = s.makeSuccessor(g, sealed{}, s.segmentSize(g.room)); err != nil {
		return err
	}
	c.synced.Store(c.seq - 1)
	g.size.Store(c.off)
	g.end.Store(c.pos)
	s.topics.head.Store(c.pos)
	if c.slots.file, err = s.create(s.path(slotsName)); err != nil {
		return err
	}
	return c.slots.write(h.Log, c.seq-1)
}

// begin makes the store one that goes on after a header.
func (s *Store) begin(h *header, time int64) {
	s.tag, s.head, s.damages = h.Tag, *h, h.Damage
	s.epoch.Store(h.Generation << 32)
	s.topics.byName = map[string]*topic{}
	c := &s.committer
	c.seq, c.pos, c.time = h.Base+1, h.Next, time
	c.synced.Store(h.Base)
}

// writeAgain writes a frame of an older segment into the active one.
func (s *Store) writeAgain(b []byte) error {
	c := &s.committer
	var f frame
	seq := binary.LittleEndian.Uint64(b[16:])
	if seq != c.seq {
		return fmt.Errorf("frame %d comes after %d", seq, c.seq-1)
	}
	reseal(b, c.active.seed, c.off, c.synced.Load())
	if err := f.decode(b, c.active.seed, c.off); err != nil {
		return err
	}
	if _, err := c.active.file.WriteAt(b, c.off); err != nil {
		return err
	}
	if err := c.active.live.add(c.off, &f); err != nil {
		return err
	}
	if c.active.Time == 0 {
		c.active.Time = f.time
	}
	c.seq++
	c.off += int64(len(b))
	return nil
}

// syncOld syncs the segments that were not sealed, where they stay as they are.
func (r *recovery) syncOld() error {
	if len(r.damages) == 0 {
		return nil
	}
	for _, f := range r.found {
		if f.g.Lost != "" {
			continue
		}
		file, err := r.s.create(r.s.path(f.g.name()))
		if err != nil {
			return err
		}
		if err := errors.Join(file.SyncData(), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// syncFiles makes the files of all segments durable.
func (r *recovery) syncFiles() error {
	for n, revisions := range r.files {
		for _, rev := range revisions {
			f, err := r.s.create(r.s.path(fileName(n, rev, segmentSuffix)))
			if err != nil {
				return err
			}
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				return err
			}
		}
	}
	return syncDir(r.s.fs, r.s.dir)
}

// discard removes files that are of no use once the log is open: of openings that
// were not finished, and of segments that were freed.
func (r *recovery) discard() {
	live := r.s.segments.list()
	for n, revisions := range r.files {
		for _, rev := range revisions {
			if slices.ContainsFunc(live, func(g *segment) bool { return g.Number == n && g.Revision == rev }) {
				continue
			}
			_ = r.s.fs.Remove(r.s.path(fileName(n, rev, segmentSuffix))) // the next opening does it, too
			_ = r.s.fs.Remove(r.s.path(fileName(n, rev, indexSuffix)))
		}
	}
	for _, name := range r.rest {
		_ = r.s.fs.Remove(r.s.path(name))
	}
}

// replay makes the states follow from the log to its end.
//
// What of sealed segments can't be read, and no header tells of, is noted in hidden:
// nobody would miss the numbers and cursors that are lost with it.
func (s *Store) replay(r *recovery, applied uint64, rebuild bool) error {
	if err := s.loadTopics(); err != nil {
		return err
	}
	if err := s.quotas.load(s.states); err != nil {
		return err
	}
	p := &replayer{s: s, rebuild: rebuild}
	for _, g := range s.segments.list() {
		last := g.Last
		if last == 0 {
			last = s.committer.seq - 1
		}
		if last <= applied || g.Lost != "" {
			continue
		}
		p.sealed = slices.Contains(r.old, g)
		if err := p.segment(g, r.after(g, applied), applied); err != nil {
			return err
		}
	}
	s.states.mu.Lock()
	s.states.seq = s.committer.seq - 1
	s.states.mu.Unlock()
	if rebuild {
		return s.recount()
	}
	return nil
}

// loadTopics loads the topics, as the states have them.
func (s *Store) loadTopics() error {
	s.topics.trims.Store(1)
	return s.states.scan(string(rune(prefixTopic)), string(rune(prefixTopic+1)), func(key string, v value) bool {
		t := &topic{name: key[1:]}
		t.decode(v.data)
		s.own(t, t.owner)
		s.topics.byName[t.name] = t
		s.topics.trimmed.Store(max(s.topics.trimmed.Load(), t.trimmed.Load()))
		return true
	})
}

// A replayer makes changes of states of the frames of the log.
type replayer struct {
	s       *Store
	rebuild bool
	sealed  bool // what is not valid in the segment is damage that nobody was told of
	block   store.Block
}

func (p *replayer) segment(g *segment, from int64, applied uint64) error {
	sc, err := p.s.scan(g, from, g.size.Load())
	if err != nil {
		return err
	}
	defer sc.close()
	sc.gaps = sc.gaps || !p.sealed
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
		if err := p.frame(&sc.frame, sc.damage != nil); err != nil {
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

func (p *replayer) frame(f *frame, damaged bool) error {
	pos := f.pos
	for i := range f.items {
		it := &f.items[i]
		switch it.kind {
		case kindBlock, kindRejected:
			if err := p.replayBlock(f, it, pos, damaged); err != nil {
				return err
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

// replayBlock changes what a block changes: its topic, and its producer.
func (p *replayer) replayBlock(f *frame, it *item, pos uint64, damaged bool) error {
	b, s := &p.block, p.s
	if _, err := b.PeekHead(it.data[:it.head]); err != nil {
		return nil //nolint:nilerr // a reader tells
	}
	t := s.topic(b.Topic)
	s.own(t, names.Owner(b))
	if !p.rebuild {
		t.add(pos, it.records, it.bytes, f.time)
	}
	t.next = max(t.next, pos+1)
	if b.Producer.IsZero() {
		return nil
	}
	key := producerKey(b.Producer)
	v, err := s.states.get(key)
	if err != nil {
		return err
	}
	var state store.ProducerState
	if v.data != nil {
		if state, err = decodeState(v.data); err != nil {
			return err
		}
	}
	if state.Expire == 0 {
		state.Expire = store.Expire
	}
	state.Epoch, state.Seen, state.Note = max(state.Epoch, b.Epoch), stamp(f.time), b.Note
	state.Next = max(state.Next, b.First+it.records)
	p.put(key, f.seq, v.data, appendState(nil, state))
	if it.kind == kindRejected && !damaged {
		first, producer := b.First, b.Producer
		if err := b.Decode(it.data); err == nil {
			s.states.put(rejectedKey(producer, first), f.seq, encodeRejections(b.Rejected))
		}
	}
	return nil
}

// put sets a state, and counts it where it is a name that comes or goes.
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

// entry sets a state as a frame says.
func (p *replayer) entry(key string, seq uint64, data []byte) error {
	if len(key) == 0 {
		return nil
	}
	if len(data) == 0 {
		data = nil
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
	}
	v, err := s.states.get(key)
	if err != nil {
		return err
	}
	p.put(key, seq, v.data, data)
	return nil
}

// carry sets a state as an older frame did, unless a newer one has.
func (p *replayer) carry(b []byte) error {
	seq, n := binary.Uvarint(b)
	if n <= 0 {
		return nil
	}
	key, rest, ok := cutString(b[n:])
	if !ok || len(rest) == 0 || len(key) == 0 {
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
	v, err := p.s.states.get(string(key))
	if err != nil || v.seq > seq || v.seq == seq && !p.rebuild { // a block says less of its producer
		return err
	}
	if rest[0] == 0 {
		return p.entry(string(key), seq, nil)
	}
	return p.entry(string(key), seq, rest[1:])
}

// recount counts what the topics hold, in all segments.
func (s *Store) recount() error {
	for _, t := range s.topics.byName {
		t.blocks, t.records, t.bytes, t.changed = 0, 0, 0, true
	}
	var scratch store.Block
	return s.walk(0, s.topics.head.Load(), everyTopic, func(f *frame, it *item, pos uint64) bool {
		if t := s.topic(topicOf(&scratch, it)); pos >= t.trimmed.Load() && t.name != damagedTopic {
			t.add(pos, it.records, it.bytes, f.time)
		}
		return true
	})
}
