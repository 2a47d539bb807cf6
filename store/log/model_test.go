package log_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// A model of the log: of its files, of the order in which it writes and syncs them, and of
// the rules by which it is opened. A frame is one cell of a file, and has one position.
// TestModel takes it through histories that would take the store itself too long.

// A modelRule is a rule of the log that a mutant switches off.
type modelRule string

const (
	ruleSlots      modelRule = "slots say what is synced"
	ruleWhole      modelRule = "a complete opening counts"
	ruleUnfinished modelRule = "an unfinished opening does not count"
	ruleAgain      modelRule = "what is not known to be synced is written again"
	rulePromise    modelRule = "a frame promises only what is synced"
	ruleSuccessor  modelRule = "a successor is there before the first frame"
	ruleAck        modelRule = "acks follow the sync"
	ruleNext       modelRule = "a sync is that of one group"
	ruleLive       modelRule = "headers list segments"
	ruleEmpty      modelRule = "no segment without frames is listed"
	ruleDamage     modelRule = "headers mention damage"
	ruleTail       modelRule = "what was synced is not the tail"
	ruleLeap       modelRule = "positions leap"
	ruleClosed     modelRule = "a closing frame that was written again does not close"
	ruleEnd        modelRule = "the end of a segment is not that of the log"
	ruleGeneration modelRule = "generations grow"
	ruleDirectory  modelRule = "the directory is synced"
	ruleSettled    modelRule = "states and mark include only what is synced"
	ruleApplied    modelRule = "states say what is synced"
	ruleFrees      modelRule = "a mark has what frames before it free"
	ruleCarry      modelRule = "states are carried before a segment is freed"
	ruleOlder      modelRule = "states before a freed frame are rebuilt"
	ruleHidden     modelRule = "damage that hides states is told"
)

var modelRules = []modelRule{
	ruleSlots, ruleWhole, ruleUnfinished, ruleAgain, rulePromise, ruleSuccessor, ruleAck, ruleNext,
	ruleLive, ruleEmpty, ruleDamage, ruleTail, ruleLeap, ruleClosed, ruleEnd, ruleGeneration, ruleDirectory,
	ruleSettled, ruleApplied, ruleFrees, ruleCarry, ruleOlder, ruleHidden,
}

const (
	modelLeap = 1000
	modelRoom = 4 // frames in a segment, or a few more
	modelKeys = 5
	slotsFile = -1
	stateFile = -2
)

type (
	modelCell  any // *modelHeader, modelFrame, uint64 (a slot), *modelCheckpoint, torn; nil is zeros
	torn       struct{}
	modelState [modelKeys]uint64 // the last value of each key

	modelFrame struct {
		salt, at         int // as in the checksum
		seq, synced, pos uint64
		value            uint64 // unique; sets or deletes the state value % modelKeys
		frees            int    // a segment
		carry            modelState
		closes           bool
	}

	modelHeader struct {
		number, opening, salt           int
		generation, base, again, synced uint64
		pos, next                       uint64 // of the first frame, or lower; above all positions
		live                            []modelSegment
		damage                          []string
	}

	modelSegment struct {
		number, salt           int
		first, last, pos, next uint64 // last is 0 if it is not sealed
		lost                   bool
	}

	// A modelCheckpoint is a checkpoint of the states and its mark.
	modelCheckpoint struct {
		applied uint64
		state   modelState
		before  modelSegment // as if the segment ended before the last frame
		at      int          // of that frame
		frees   []int        // according to frames before it
		own     int          // according to that frame
	}

	modelFile struct {
		now, safe    []modelCell // in the page cache, on the disk
		there, named bool        // in the directory, durably
	}
	modelDisk map[int]*modelFile
)

func (d modelDisk) has(n int) bool { return d[n] != nil && d[n].there }

func (d modelDisk) cells(n int) []modelCell {
	if !d.has(n) {
		return nil
	}
	return d[n].now
}

func (d modelDisk) put(n, at int, c modelCell) {
	if !d.has(n) {
		d[n] = &modelFile{there: true}
	}
	f := d[n]
	f.now = append(f.now, make([]modelCell, max(0, at+1-len(f.now)))...)
	f.now[at] = c
}

func (d modelDisk) syncDir() {
	for _, f := range d {
		f.named = f.there
	}
}

// losePower keeps any subset of what is not synced. Instead of a cell there may be what
// was on that part of the disk before.
func (d modelDisk) losePower(rng *rand.Rand, old []modelFrame) {
	for _, n := range slices.Sorted(maps.Keys(d)) {
		f := d[n]
		if f.there != f.named {
			f.there = rng.IntN(2) == 0
		}
		f.named = f.there
		f.safe = append(f.safe, make([]modelCell, max(0, len(f.now)-len(f.safe)))...)
		for i := range f.now {
			if f.now[i] == f.safe[i] {
				continue
			}
			switch rng.IntN(5) {
			case 0, 1:
				f.safe[i] = f.now[i]
			case 2:
				if n != stateFile {
					f.safe[i] = torn{}
				}
			case 3:
				if n > 0 && len(old) > 0 {
					f.safe[i] = old[len(old)-1-rng.IntN(min(len(old), 8))]
				}
			}
		}
		f.now = slices.Clone(f.safe)
	}
}

// frame returns the frame of a segment in a cell, if it is intact.
func (w *modelWorld) frame(g modelSegment, at int) (f modelFrame, ok bool) {
	f, ok = w.disk.cells(g.number)[at].(modelFrame)
	return f, ok && f.salt == g.salt && f.at == at
}

// frames returns the frames of a sealed segment that can be read.
func (w *modelWorld) frames(g modelSegment) (all []modelFrame) {
	seq := g.first
	for at := range w.disk.cells(g.number) {
		if f, ok := w.frame(g, at); ok && seq <= f.seq && f.seq <= g.last {
			all, seq = append(all, f), f.seq+1
		}
	}
	return all
}

// A modelRecovery is what an opening finds. It follows recovery and its methods.
type modelRecovery struct {
	*modelWorld

	heads                    map[int]*modelHeader
	states                   *modelCheckpoint // nil: to be rebuilt
	newest                   *modelHeader
	last                     int // segment number
	promise, generation, pos uint64
	exp, at                  uint64 // of the frame after the last one
	closed                   bool
	live                     []modelSegment // sealed
	old                      []modelSegment // the same, before this opening
	open                     []modelSegment // not sealed
	gone                     []modelSegment // frames missing before those of the open ones
	kept                     [][]modelFrame // of the open ones, after the mark
	freed                    []int
	missing, damages, told   []string
}

var errModelDamaged = errors.New("refused")

// survey finds out how far the log goes and what is damaged.
func (w *modelWorld) survey(hidden []string, rebuild bool) (*modelRecovery, error) {
	r := &modelRecovery{modelWorld: w, heads: map[int]*modelHeader{}, exp: 1, at: 1, damages: slices.Clone(hidden)}
	for n := range w.disk {
		if n > 0 && w.disk.has(n) {
			r.last = max(r.last, n)
			if h, ok := w.disk.cells(n)[0].(*modelHeader); ok {
				r.heads[n] = h
			}
		}
	}
	used := w.disk.has(slotsFile) || w.disk.has(stateFile)
	if len(r.heads) == 0 && used {
		return r, errModelDamaged
	} else if len(r.heads) == 0 {
		return r, nil
	}
	for _, h := range r.heads {
		r.promise, r.generation = max(r.promise, h.synced), max(r.generation, h.generation)
		r.pos, r.last = max(r.pos, h.next), max(r.last, h.number)
		for _, l := range h.live {
			r.last, r.pos = max(r.last, l.number), max(r.pos, l.pos, l.next)
		}
	}
	if c := w.disk.cells(stateFile); len(c) > 0 && !rebuild {
		r.states, _ = c[0].(*modelCheckpoint)
	}
	if r.states != nil && w.without != ruleApplied {
		r.promise = max(r.promise, r.states.applied)
	}
	for _, c := range w.disk.cells(slotsFile) {
		if seq, ok := c.(uint64); ok && w.without != ruleSlots {
			r.promise = max(r.promise, seq)
		}
	}
	if !r.choose() {
		return r, errModelDamaged
	}
	r.collect()
	if r.states != nil && w.without != ruleOlder && r.isBeyond(r.states.applied+1) {
		return w.survey(hidden, true)
	}
	if len(r.missing) > 0 {
		return r, errModelDamaged
	}
	return r, nil
}

// choose finds the newest finished opening.
func (r *modelRecovery) choose() bool {
	for n := r.last; n > 0; n-- {
		if h := r.heads[n]; h != nil && (h.opening != n || r.finished(h)) {
			r.newest = h
			return true
		}
	}
	return false
}

func (r *modelRecovery) finished(h *modelHeader) bool {
	top, whole := h.base+h.again, uint64(0)
	all, _ := r.unsealed(r.segment(h, h.base+1))
	for _, f := range all {
		if f.seq == h.base+whole+1 {
			whole++
		}
	}
	beyond := r.promise > top || len(all) > 0 && all[len(all)-1].seq > top
	return r.disk.has(h.number) && (beyond || whole >= h.again && r.without != ruleWhole || r.without == ruleUnfinished)
}

func (*modelRecovery) segment(h *modelHeader, first uint64) modelSegment {
	return modelSegment{number: h.number, salt: h.salt, first: first, pos: h.pos}
}

// unsealed returns the frames of a segment that may not be sealed, and whether there are
// holes before them. It notes what they say was synced.
func (r *modelRecovery) unsealed(g modelSegment) (all []modelFrame, holes []bool) {
	at, seq, hole := 1, g.first, false
	if r.marked(g) {
		at, seq = r.states.at, r.states.applied
	}
	for ; at < len(r.disk.cells(g.number)); at++ {
		f, ok := r.frame(g, at)
		if !ok || f.seq < seq {
			hole = true
			continue
		}
		all, holes = append(all, f), append(holes, hole)
		seq, hole, r.promise = f.seq+1, false, max(r.promise, f.synced)
	}
	return all, holes
}

// marked reports whether the states have a mark in a segment.
func (r *modelRecovery) marked(g modelSegment) bool {
	k := r.states
	return k != nil && k.before.salt == g.salt && k.before.last+1 == k.applied && k.before.last >= k.before.first
}

// collect finds out which frames count, and what is damaged.
func (r *modelRecovery) collect() {
	h, first := r.newest, r.newest.base+1
	for _, l := range h.live {
		if l.last == 0 {
			r.open, first = append(r.open, l), l.first
		} else {
			r.live, first = append(r.live, l), l.last+1
		}
	}
	r.open = append(r.open, r.segment(h, max(first, h.base+1)))
	r.gone, r.kept = make([]modelSegment, len(r.open)), make([][]modelFrame, len(r.open))
	holes, used := make([][]bool, len(r.open)), 0
	for i := range r.open { // first find out what was synced
		g := &r.open[i]
		if i > 0 && len(r.kept[i-1]) > 0 {
			g.first = max(g.first, r.kept[i-1][len(r.kept[i-1])-1].seq+1)
		}
		r.kept[i], holes[i] = r.unsealed(*g)
		if n := len(r.kept[i]); n > 0 && !r.isAgain(*g, r.kept[i][n-1]) {
			used = g.number
		}
	}
	r.exp, r.at = r.open[0].first, r.open[0].pos
	ended := false
	for i := range r.open {
		ended = r.follow(i, holes[i], ended)
	}
	if used > 0 && !r.disk.has(used+1) { // a segment with frames has a successor
		r.lose(used + 1)
	}
	if r.promise >= r.exp && r.without != ruleTail {
		r.damages = append(r.damages, fmt.Sprintf("frames %d to %d are not there", r.exp, r.promise))
	}
	r.live = slices.DeleteFunc(r.live, func(g modelSegment) bool {
		return slices.Contains(r.freed, g.number) || r.without == ruleLive && !g.lost && !r.disk.has(g.number)
	})
	for i, g := range r.live {
		if !g.lost && !r.disk.has(g.number) {
			r.live[i].lost = true
			r.lose(g.number)
		}
	}
	r.old = slices.Clone(r.live)
}

// follow keeps those frames of an unsealed segment that count, until the log has ended:
// nothing says that the next frame was synced, and it is not there.
func (r *modelRecovery) follow(i int, holes []bool, ended bool) bool {
	g, all := &r.open[i], r.kept[i]
	r.kept[i] = nil
	if g.first, g.pos = r.exp, r.at; !r.disk.has(g.number) {
		r.lose(g.number)
		return ended
	}
	if r.marked(*g) {
		b := r.states.before
		g.last, g.next, r.exp, r.at = b.last, b.next, b.last+1, b.next
		r.freed = append(r.freed, r.states.frees...)
	}
	for k, f := range all {
		if ended || r.exp > r.promise && (f.seq != r.exp || holes[k]) || holes[k] && r.without == ruleTail {
			return true
		}
		if f.seq > r.exp {
			r.damages = append(r.damages, fmt.Sprintf("frames %d to %d can't be read", r.exp, f.seq-1))
			if k == 0 && g.last == 0 && !holes[0] {
				r.gone[i] = modelSegment{first: r.exp, last: f.seq - 1, pos: r.at, next: f.pos, lost: true}
				g.first, g.pos = f.seq, f.pos
			}
		}
		r.kept[i] = append(r.kept[i], f)
		r.exp, r.at, r.closed = f.seq+1, f.pos+1, f.closes && (r.without == ruleClosed || !r.isAgain(*g, f))
		if f.frees > 0 {
			r.freed = append(r.freed, f.frees)
		}
	}
	return ended || r.exp > r.promise && r.without == ruleEnd
}

// isAgain reports whether the newest opening wrote a frame again.
func (r *modelRecovery) isAgain(g modelSegment, f modelFrame) bool {
	return g.number == r.newest.opening && f.seq <= r.newest.base+r.newest.again
}

func (r *modelRecovery) lose(n int) {
	r.missing = append(r.missing, fmt.Sprintf("segment %d is missing", n))
	r.damages = append(r.damages, r.missing[len(r.missing)-1])
}

// isBeyond reports whether frames from the given one on were freed.
func (r *modelRecovery) isBeyond(next uint64) bool {
	all := slices.Clone(r.live)
	for i, g := range r.open {
		if n := len(r.kept[i]); n > 0 {
			g.last = r.kept[i][n-1].seq
		}
		all = append(all, r.gone[i], g)
	}
	for _, g := range all {
		if g.last >= next && g.first > next && !g.lost {
			return true
		}
		next = max(next, g.last+1)
	}
	return false
}

// begin decides how the log continues, and which frames are to be written again.
func (r *modelRecovery) begin(readOnly, salvage bool) (h *modelHeader, again []modelFrame) {
	last := r.exp - 1
	h = &modelHeader{number: r.last + 1, opening: r.last + 1, generation: r.generation + 1, base: last, pos: 1, next: 1}
	if r.without == ruleGeneration {
		h.generation = 1
	}
	if r.newest == nil {
		return h, nil
	}
	r.told = append(slices.Clone(r.newest.damage), r.damages...)
	if !salvage && r.without != ruleDamage {
		h.damage = r.told
	}
	if len(r.damages) > 0 {
		h.base = max(r.promise, last)
	} else if r.promise < last && !readOnly && r.without != ruleAgain {
		h.base = r.promise
	}
	h.synced = h.base
	if h.next = max(r.pos, r.at); (!r.closed || len(r.damages) > 0 || h.next > r.at) && r.without != ruleLeap {
		h.next += modelLeap
	}
	for i, g := range r.open {
		if r.gone[i].last > 0 {
			r.live = append(r.live, r.gone[i])
		}
		for _, f := range r.kept[i] {
			if f.seq <= h.base {
				g.last, g.next = f.seq, f.pos+1
			} else {
				again = append(again, f)
			}
		}
		if g.last > 0 || r.without == ruleEmpty {
			g.last = max(g.last, g.first-1)
			r.live = append(r.live, g)
		}
	}
	if h.base > last {
		r.live = append(r.live, modelSegment{first: last + 1, last: h.base, pos: r.at, next: h.next, lost: true})
	}
	if h.pos = h.next; len(again) > 0 {
		h.pos = again[0].pos
	}
	h.again, h.live = uint64(len(again)), slices.Clone(r.live)
	return h, again
}

// replay brings the states up to date, and returns damage that hides some of them.
func (r *modelRecovery) replay(live []modelSegment) (state modelState, hidden []string) {
	from := uint64(0)
	if r.states != nil {
		state, from = r.states.state, r.states.applied
	}
	for _, g := range live {
		if g.last <= from || g.lost {
			continue
		}
		next := max(g.first, from+1)
		hole := func(upTo uint64) {
			if next < upTo && slices.ContainsFunc(r.old, func(o modelSegment) bool { return o.number == g.number }) {
				hidden = append(hidden, fmt.Sprintf("frames %d to %d of segment %d", next, upTo-1, g.number))
			}
		}
		for _, f := range r.frames(g) {
			if f.seq > from {
				hole(f.seq)
				state.apply(f)
				next = f.seq + 1
			}
		}
		hole(g.last + 1)
	}
	if r.without == ruleHidden {
		return state, nil
	}
	return state, slices.DeleteFunc(hidden, func(d string) bool { return slices.Contains(r.told, d) })
}

func (f modelFrame) key() uint64   { return f.value % modelKeys }
func (f modelFrame) deletes() bool { return f.value%2 == 0 }

func (s *modelState) apply(f modelFrame) {
	for i, v := range f.carry {
		if v > 0 {
			s[i] = v
		}
	}
	if s[f.key()] = f.value; f.deletes() {
		s[f.key()] = 0
	}
}
