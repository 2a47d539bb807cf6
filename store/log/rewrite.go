package log

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// A rewriting says that sealed segments that followed each other were rewritten into
// one: what of them was not trimmed, with its numbers and positions, and damage as
// damage. It stands in the header of the file, and in a frame of the log: that frame
// decides which files count.
//
//	copy, sync, rename, sync the directory ─▶ frame ─▶ unlink the old files
//	      the old files count                  │ the new file counts
type rewriting struct {
	sealed
	Of     []uint64 `json:"of"` // their numbers
	Blocks uint64   `json:"blocks"`
}

const (
	// Segments are rewritten while all of them together take more than this much of
	// what is left in them, in hundredths.
	maxSparse = 120

	// No segment is rewritten that would lose less than this part of it.
	minGain = 8

	// maxRun is how many segments become one. Their numbers fit into a header that
	// takes headerGap.
	maxRun = 64

	// So much is read or written at a time, and synced, before others come first.
	rewriteStep = 1 << 20
)

// smallGain is how much must be gained in all, and how large segments are that always
// become one with those beside them, in bytes.
func (s *Store) smallGain() int64 { return min(1<<20, s.opts.MaxSegment/4) }

// A weight is how much a sealed segment holds of one topic.
type weight struct {
	topic             string
	first, last, size uint64
}

// maxWeights is of how many topics a segment keeps in memory how much it holds.
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

// waste returns how many bytes of a sealed segment would be gained if it was
// rewritten. What it says of states is waste once that was carried. trimMu is held.
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

// A sparse is a sealed segment, and what would be gained.
type sparse struct {
	g           *segment
	size, waste int64
	fixed       bool // it stays as it is
}

// sparsest returns segments that follow each other and are to be rewritten into one,
// none where nothing is. trimMu is held.
func (s *Store) sparsest() []*segment {
	var all []sparse
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
		return nil
	}
	// To write all states anew must pay.
	limit := ^uint64(0)
	if fresh < s.carriedBytes {
		limit = s.carried
	}
	// Where there is little room, what needs little comes first, and alone.
	alone := s.reserve.lacks(s.maxSegment() + roomToCheckpoint)
	best := -1
	for i, e := range all {
		switch {
		case e.waste*minGain < e.size || e.waste == 0 || e.g.Last > limit:
		case best < 0, alone && e.size-e.waste < all[best].size-all[best].waste,
			!alone && float64(e.waste)*float64(all[best].size) > float64(all[best].waste)*float64(e.size):
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	if alone {
		return []*segment{all[best].g}
	}
	if all[best].g.Last <= s.carried {
		limit = s.carried
	}
	// Beside it, what is sparse, too, or not much: else small files would add up.
	from, to, left := best, best+1, all[best].size-all[best].waste
	joins := func(i int) bool {
		if i < 0 || i >= len(all) || to-from >= maxRun || all[i].fixed || all[i].g.Last > limit {
			return false
		}
		more := all[i].size - all[i].waste
		if left+more > s.maxSegment() || all[i].waste*minGain < all[i].size && more > max(2*left, s.smallGain()) {
			return false
		}
		left += more
		return true
	}
	for joins(from - 1) {
		from--
	}
	for joins(to) {
		to++
	}
	var run []*segment
	for _, e := range all[from:to] {
		run = append(run, e.g)
	}
	return run
}

// rewriteSparse rewrites segments until no more than maxSparse is wasted.
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

// rewrite rewrites segments into one. Where that fails, they stay as they are.
func (s *Store) rewrite(ctx context.Context, run []*segment) error {
	w := &rewriter{s: s, run: run}
	err := w.rewrite(ctx)
	if w.entered {
		s.leave()
	}
	switch {
	case s.freed(w.run[0], err):
		return nil // others are to be rewritten now
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

// A spoiltError says that a segment can't be rewritten, and others perhaps can.
type spoiltError struct{ error }

func (e spoiltError) Unwrap() error { return e.error }

// A rewriter copies what is left of segments into a file.
type rewriter struct {
	s       *Store
	run     []*segment
	entered bool // the store is in use

	to      rewriting
	file    vfs.File
	seed    uint32
	off     int64 // where the next frame goes
	buf     []byte
	damages uint64 // that were copied
	draft   draft
	block   store.Block
	began   time.Time // the step
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
	if installed || s.failed() != nil { // which of the files counts, the log says
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

// breathe ends a step: what was written is synced, and others come first for a while.
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
		w.run = []*segment{g} // only this one is to blame
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
	if sc.err != nil { // only this one is to blame
		w.run = []*segment{g}
	}
	return sc.err
}

// frame copies what is left of a frame.
func (w *rewriter) frame(sc *scanner) error {
	f := &sc.frame
	left, whole := uint64(0), true
	for pos, it := range f.blocks() {
		if w.isLeft(pos, it) {
			left++
		} else {
			whole = false
		}
	}
	if left == 0 {
		return nil
	}
	if sc.damage != nil { // whose it is can't be told
		w.damages++
		b := sc.raw()
		reseal(b, w.seed, w.off, f.synced)
		w.put(b)
		return nil
	}
	w.to.Blocks += left
	if whole && !slices.ContainsFunc(f.items, func(it item) bool { return it.positions() == 0 }) {
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

// hole writes that something can't be read.
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

// finish makes the file whole, durably.
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

// check reads the file and returns its index. Until it is known to be whole, the old
// files stay.
func (w *rewriter) check(g *segment) (*index, error) {
	x, err := w.s.buildIndex(g)
	if err != nil {
		return nil, err
	}
	blocks := uint64(0)
	for _, h := range x.topics {
		for _, sh := range h.in {
			blocks += sh.blocks
		}
	}
	if want := w.to.Blocks + w.damages; blocks != want {
		return nil, fmt.Errorf("%d blocks are read in %s, and %d were written", blocks, g.name(), want)
	}
	return x, nil
}

// install puts the new file in the place of the old ones, and reports whether it did.
// Where some of them were freed meanwhile it does not.
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
	if err := s.outlive(w.to.Last); err != nil {
		return false, err
	}
	note, err := json.Marshal(&w.to)
	if err != nil {
		return false, err
	}
	var d draft
	d.reset()
	from := len(d.buf)
	d.buf = append(d.buf, note...)
	d.addItem(kindRewritten, from)
	s.indexes.put(g, x)
	m := &commit{draft: &d, vital: true, says: said{notes: []*rewriting{&w.to}}, then: func() { s.segments.replace(w.run, g) }}
	if err := s.commitNew(m); err != nil {
		return false, err
	}
	_ = s.writeIndex(g, x) // it is made anew where it is missing
	if waste, err := s.waste(g); err == nil {
		g.stuck = waste
	}
	s.removeFiles(w.run)
	return true, nil
}

// append appends the hole as a rewritten segment tells of it: the numbers of the last
// frame and the position after it, both after those of the frame that tells of it, and
// the error's text.
func (d *hole) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, d.last+1-d.first)
	dst = binary.AppendUvarint(dst, d.to-d.from)
	return append(dst, d.err.Error()...)
}

// hole returns what the frame says that could not be read, nil where it says nothing
// of that kind.
func (f *frame) hole() *hole {
	if len(f.items) != 1 || f.items[0].kind != kindHole {
		return nil
	}
	b := f.items[0].data
	frames, n := binary.Uvarint(b)
	positions, k := binary.Uvarint(b[max(n, 0):])
	if n <= 0 || k <= 0 {
		return nil
	}
	return &hole{first: f.seq, last: f.seq + frames - 1, from: f.pos, to: f.pos + positions, err: errors.New(string(b[n+k:]))}
}
