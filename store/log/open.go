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
)

// recover opens the log whose files a recovery has listed.
func (s *Store) recover(r *recovery) error {
	s.adapt()
	if err := s.reserve.open(s.fs, s.dir, s.opts.Reserve); err != nil {
		return err
	}
	s.reserve.spend(roomToCheckpoint) // for what an opening writes, and a checkpoint
	if err := r.readHeads(); err != nil {
		return err
	}
	switch { // the first segment is created before everything else
	case r.fresh:
		if err := s.start(r); err != nil {
			return err
		}
	case !r.used: // a process was killed right after that
		if err := r.syncFiles(); err != nil {
			return err
		}
	}
	r, applied, rebuild, err := s.survey(r)
	if err != nil {
		return err
	}
	if !r.fresh {
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
	if s.opts.Salvage { // accepted damage is not found again
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

// adapt adapts the store to its file system: if that is memory, it lowers the durability.
func (s *Store) adapt() {
	switch root := vfs.Root(s.opts.FS).(type) {
	case interface{ CopiesOnWrite() bool }: // of a test
		s.copies = root.CopiesOnWrite()
	default:
		if root != vfs.Default {
			return
		}
		s.copies = copiesOnWrite(s.dir)
		if inMemory(s.dir) {
			s.opts.Durability = store.OS
		}
	}
}

func (s *Store) tellDamage() {
	if s.opts.Damaged != nil {
		for _, d := range s.damages {
			s.opts.Damaged(d)
		}
	}
}

// survey opens the states and finds out how far the log goes, as the recovery that it
// returns says. States may be older than frames that were freed, for example after they
// were restored from a copy. They miss what those frames said, so they are rebuilt; the
// log has everything once more for that purpose.
func (s *Store) survey(r *recovery) (_ *recovery, applied uint64, rebuild bool, err error) {
	if applied, rebuild, err = s.openStates(r); err != nil || r.fresh {
		return r, applied, rebuild, err
	}
	if err := r.judge(applied, rebuild); err != nil || rebuild || !r.isBeyond(applied) {
		return r, applied, rebuild, err
	}
	again := &recovery{s: s, exp: 1, at: 1, rebuild: true}
	if err := errors.Join(s.states.close(), again.list(), again.readHeads()); err != nil {
		return r, 0, false, err
	}
	return s.survey(again)
}

// judge finds out how far the log goes and what is damaged. The states include everything
// up to the frame applied, or are to be rebuilt.
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

// know derives what is kept in memory from the log and the states.
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

// openStates opens the states and returns the last frame that they include. If they can't
// be read, or belong to another log, they are rebuilt.
func (s *Store) openStates(r *recovery) (applied uint64, rebuild bool, err error) {
	dir := s.path(statesName)
	if r.rebuild {
		err = errState
	} else {
		s.states, err = openStates(s.fs, dir, s.opts.ReadOnly)
	}
	if err == nil {
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
			r.mark, err = s.states.loadMark(applied)
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

// start begins the opening: it makes a segment, writes those frames into it that are to
// be written again, and makes its successor.
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
	for _, w := range again {
		if err := s.writeAgain(w.b); err != nil {
			return err
		}
	}
	if len(again) > 0 {
		if err := g.file.SyncData(); err != nil {
			return err
		}
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

// begin makes the store continue after a header.
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

// syncOld syncs the unsealed segments that stay as they are.
func (r *recovery) syncOld() error {
	if len(r.damages) == 0 {
		return nil
	}
	for _, f := range r.found {
		if f.g.Lost != "" {
			continue
		}
		if err := syncFile(r.s.fs, r.s.path(f.g.name())); err != nil {
			return err
		}
	}
	return nil
}

// syncFiles makes all segments' files durable.
func (r *recovery) syncFiles() error {
	for n, revisions := range r.files {
		for _, rev := range revisions {
			if err := syncFile(r.s.fs, r.s.path(fileName(n, rev, segmentSuffix))); err != nil {
				return err
			}
		}
	}
	return syncDir(r.s.fs, r.s.dir)
}

// discard removes files that are useless once the log is open: those of unfinished
// openings, and of freed segments.
func (r *recovery) discard() {
	live := r.s.segments.list()
	for n, revisions := range r.files {
		for _, rev := range revisions {
			if slices.ContainsFunc(live, func(g *segment) bool { return g.Number == n && g.Revision == rev }) {
				continue
			}
			_ = r.s.fs.Remove(r.s.path(fileName(n, rev, segmentSuffix))) // the next opening tries again
			_ = r.s.fs.Remove(r.s.path(fileName(n, rev, indexSuffix)))
		}
	}
	for _, name := range r.rest {
		_ = r.s.fs.Remove(r.s.path(name))
	}
}
