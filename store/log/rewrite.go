package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// A rewriting says that consecutive sealed segments were rewritten into one, which holds
// what was not trimmed, under the same numbers and positions, and their damage as damage.
// It is in the header of the file and in a frame of the log. That frame decides which
// files count.
//
//		copy, sync, rename, sync the directory ─▶ frame ─▶ unlink the old files
//	        the old files count                  │ the new file counts
type rewriting struct {
	sealed
	Of     []uint64 `json:"of"` // their numbers
	Blocks uint64   `json:"blocks"`
}

const (
	// maxRun is how many segments become one at most. A header of headerGap bytes has
	// room for their numbers.
	maxRun = 64

	// rewriteStep is how many bytes are read or written, and synced, before other work
	// comes first.
	rewriteStep = 1 << 20
)

// rewriteSparse rewrites segments until no more space is wasted than maxSparse allows.
func (s *Store) rewriteSparse(ctx context.Context, paced bool) error {
	if !paced {
		s.hurry.Add(1)
		defer s.hurry.Add(-1)
	}
	s.rewriting.Lock()
	defer s.rewriting.Unlock()
	var errs []error
	for {
		if err := s.enter(ctx); err != nil {
			return err
		}
		if f := s.failed(); f != nil {
			s.leave()
			return f
		}
		s.trimMu.Lock()
		run := s.sparsest()
		s.trimMu.Unlock()
		s.leave()
		if len(run) == 0 {
			s.holdRoom()
			return errors.Join(errs...)
		}
		if err := s.rewrite(ctx, run); err != nil {
			if errs = append(errs, err); !errors.As(err, new(spoiltError)) {
				return errors.Join(errs...)
			}
		}
	}
}

// rewrite rewrites segments into one. If it fails, they stay as they are.
func (s *Store) rewrite(ctx context.Context, run []*segment) error {
	w := &rewriter{s: s, run: run}
	err := w.rewrite(ctx)
	if w.entered {
		s.leave()
	}
	switch {
	case s.freed(w.run[0], err):
		return nil // the choice must be made again
	case err == nil, passes(err), errors.Is(err, errClosed), ctx.Err() != nil, s.failed() != nil:
		return err
	}
	s.trimMu.Lock()
	for _, g := range w.run {
		g.spoilt = true // the next opening tries again
	}
	s.trimMu.Unlock()
	if s.opts.Logger != nil {
		s.opts.Logger.Warn("a segment can't be rewritten, and stays as it is", "segment", w.run[0].name(), "error", err)
	}
	return spoiltError{fmt.Errorf("rewrite %s: %w", w.run[0].name(), err)}
}

// A spoiltError says that a segment can't be rewritten; others may be.
type spoiltError struct{ error }

func (e spoiltError) Unwrap() error { return e.error }

// A rewriter copies what is left of segments into one file.
type rewriter struct {
	s       *Store
	run     []*segment
	entered bool // the store is in use

	to      rewriting
	file    vfs.File
	seed    uint32
	off     int64 // of the next frame
	buf     []byte
	damages uint64 // unreadable parts that were copied
	draft   draft
	block   store.Block
	began   time.Time // of the current step
}

func (w *rewriter) rewrite(ctx context.Context) (err error) {
	s, first, last := w.s, w.run[0], w.run[len(w.run)-1]
	if err := w.enter(ctx); err != nil {
		return err
	}
	w.to.sealed = sealed{
		Number: first.Number, Revision: first.Revision + 1, Salt: random(), First: first.First, Last: last.Last,
		Position: first.Position, End: last.End, Start: headerGap, Time: first.Time,
	}
	w.seed, w.off = seed(w.to.Number, w.to.Salt), w.to.Start
	name := s.path(fileName(w.to.Number, w.to.Revision, segmentSuffix))
	made := name + temporary
	room := int64(roomToCheckpoint)
	for _, g := range w.run {
		room += g.frameBytes()
	}
	defer s.reserve.use(room)()
	if w.file, err = s.fs.Create(made, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, w.close())
		if made != "" && w.entered {
			_ = s.fs.Remove(made) // the next opening does it, too
		}
	}()
	for _, g := range w.run {
		if err := w.copy(ctx, g); err != nil {
			return err
		}
		w.to.Of = append(w.to.Of, g.Number)
	}
	if err := w.finish(); err != nil {
		return err
	}
	// The states come first: an opening that lacks an old file uses this one, which has none.
	s.trimMu.Lock()
	err = s.outlive(w.to.Last)
	s.trimMu.Unlock()
	if err != nil {
		return err
	}
	if err := s.fs.Rename(made, name); err != nil {
		return err
	}
	made = name
	if err := syncDir(s.fs, s.dir); err != nil {
		return err
	}
	g := newSegment(w.to.sealed)
	x, err := w.check(g)
	if err != nil {
		return err
	}
	installed, err := w.install(g, x)
	if installed || s.failed() != nil { // the log says which of the files counts
		made = ""
	}
	return err
}

// enter begins a step.
func (w *rewriter) enter(ctx context.Context) error {
	err := w.s.enter(ctx)
	w.entered, w.began = err == nil, time.Now()
	return err
}

// breathe ends a step: it syncs what was written and lets others work for a while.
func (w *rewriter) breathe(ctx context.Context) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.file.SyncData(); err != nil {
		return err
	}
	w.s.leave()
	w.entered = false
	if w.s.hurry.Load() == 0 {
		timer := time.NewTimer(min(3*time.Since(w.began), time.Second))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-w.s.done:
		}
	}
	return w.enter(ctx)
}

func (w *rewriter) copy(ctx context.Context, g *segment) error {
	sc, err := w.s.scan(g, g.Start, g.Size)
	if err != nil {
		w.run = []*segment{g} // the others may be rewritten
		return err
	}
	defer sc.close()
	mark := sc.at
	for sc.next() {
		if d := sc.damage; d != nil && !d.known {
			w.hole(g, sc)
		} else if err := w.frame(sc); err != nil {
			return err
		}
		if len(w.buf) >= rewriteStep || sc.at-mark >= rewriteStep {
			mark = sc.at
			if err := w.breathe(ctx); err != nil {
				return err
			}
		}
	}
	if sc.err != nil { // the others may be rewritten
		w.run = []*segment{g}
	}
	return sc.err
}

// frame copies what is left of a frame.
func (w *rewriter) frame(sc *scanner) error {
	f := &sc.frame
	left, all := uint64(0), uint64(0)
	for pos, it := range f.blocks() {
		all++
		if w.isLeft(pos, it) {
			left++
		}
	}
	if left == 0 {
		return nil
	}
	if sc.damage != nil { // which of the blocks it hit is not known
		left = all
		w.damages++
	}
	w.to.Blocks += left
	if sc.damage != nil || left == all && !slices.ContainsFunc(f.items, func(it item) bool { return it.positions() == 0 }) {
		b := sc.raw()
		reseal(b, w.seed, w.off, f.synced)
		w.put(b)
		return nil
	}
	d := &w.draft
	d.reset()
	pos := f.pos
	for i := range f.items {
		it, from := &f.items[i], len(d.buf)
		switch {
		case it.isBlock() && w.isLeft(pos, it):
			d.buf = append(d.buf, it.data...)
			d.addBlock(it.kind, from, it.head, it.records, it.bytes)
		case it.positions() > 0:
			d.addItem(kindGone, from)
		}
		pos += it.positions()
	}
	w.seal(place{seq: f.seq, synced: f.synced, pos: f.pos, time: f.time})
	return nil
}

// isLeft reports whether a block is not trimmed.
func (w *rewriter) isLeft(pos uint64, it *item) bool {
	return !w.s.isTrimmed(topicOf(&w.block, it), pos)
}

// hole writes a frame for something that can't be read.
func (w *rewriter) hole(g *segment, sc *scanner) {
	d := *sc.damage
	if d.last == 0 {
		d.last, d.to = g.Last, g.End
	}
	w.damages++
	w.draft.reset()
	from := len(w.draft.buf)
	w.draft.buf = d.append(w.draft.buf)
	w.draft.addItem(kindHole, from)
	w.seal(place{seq: d.first, synced: d.first, pos: d.from, time: sc.time})
}

func (w *rewriter) seal(p place) {
	w.draft.finish()
	w.put(w.draft.seal(w.seed, w.off, p))
}

func (w *rewriter) put(b []byte) {
	w.buf = append(w.buf, b...)
	w.off += int64(len(b))
}

func (w *rewriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.file.WriteAt(w.buf, w.off-int64(len(w.buf)))
	w.buf = w.buf[:0]
	return err
}

// finish completes the file, durably.
func (w *rewriter) finish() error {
	s := w.s
	w.to.Size = w.off
	h := &header{
		Number: w.to.Number, Opening: s.head.Opening, Salt: w.to.Salt, Generation: s.head.Generation, Log: s.head.Log, Tag: s.tag,
		Synced: w.to.Last, Position: w.to.Position, Next: w.to.End, Time: w.to.Time, Rewritten: &w.to,
	}
	b := h.encode()
	if int64(len(b)) != w.to.Start {
		return fmt.Errorf("a header of %d bytes, want %d", len(b), w.to.Start)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(b, 0); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	return w.close()
}

func (w *rewriter) close() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// check reads the file and returns its index. The old files stay until it is known to be
// intact.
func (w *rewriter) check(g *segment) (*index, error) {
	x, damages, err := w.s.buildIndex(g)
	if err != nil {
		return nil, err
	}
	blocks := uint64(0)
	for topic, h := range x.topics {
		for _, sh := range h.in {
			if topic != damagedTopic {
				blocks += sh.blocks
			}
		}
	}
	if blocks != w.to.Blocks || damages != w.damages {
		return nil, fmt.Errorf("%d blocks and %d damaged parts are read in %s, and %d and %d were written",
			blocks, damages, g.name(), w.to.Blocks, w.damages)
	}
	return x, nil
}

// install replaces the old files by the new one. It reports false if some of the old
// segments were freed meanwhile.
func (w *rewriter) install(g *segment, x *index) (done bool, err error) {
	s := w.s
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	all := s.segments.list()
	for _, old := range w.run {
		if !slices.Contains(all, old) {
			return false, nil
		}
	}
	note, err := json.Marshal(&w.to)
	if err != nil {
		return false, err
	}
	m := newCommit()
	m.vital, m.says, m.then = true, said{notes: []*rewriting{&w.to}}, func() { s.segments.replace(w.run, g) }
	from := len(m.buf)
	m.buf = append(m.buf, note...)
	m.addItem(kindRewritten, from)
	s.indexes.put(g, x)
	if err := s.commitNew(m); err != nil {
		return false, err
	}
	_ = s.writeIndex(g, x) // it is rebuilt if it is missing
	if waste, err := s.waste(g); err == nil {
		g.stuck = waste
	}
	s.removeFiles(w.run)
	return true, nil
}
