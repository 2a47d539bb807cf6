package log

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// An event is one step through a segment that may not be sealed: a frame, bytes that are
// not a frame, or everything before a mark.
type event struct {
	hole     bool
	known    bool   // only the frame's header is intact
	seq      uint64 // of the frame; for a mark, of the last one before it
	more     uint64 // for a mark: how many frames come before that one
	pos, to  uint64 // positions
	time     int64
	off, end int64
	closes   bool
	says     bool // there is more to it: see recovery.said
}

// A said is what a frame says about older segments.
type said struct {
	frees []uint64     // no longer needed
	notes []*rewriting // rewritten
}

// read reads a segment that may not be sealed, from the mark on if it has one. It notes
// which frames are said to have been synced.
func (r *recovery) read(g *segment, from *mark) (events []event, err error) {
	sc, err := r.s.scan(g, g.Start, 0)
	if err != nil {
		return nil, err
	}
	defer sc.close()
	if from.isOf(g) {
		sc.at, sc.seq, sc.pos = from.Size, from.Last+1, from.End
		events = append(events, from.event())
		r.said[from.Last] = said{from.Frees, from.Notes}
	}
	info, err := sc.file.Stat()
	if err != nil {
		return nil, err
	}
	sc.limit = info.Size()
	began := sc.at
	for sc.next() {
		if n := len(events); n == cap(events) && n > 0 { // grow to the expected number, but at most 8 times as many
			more := float64(n) * float64(sc.limit-sc.at) / float64(sc.at-began)
			events = slices.Grow(events, n+int(min(more, float64(8*n))))
		}
		f, d := &sc.frame, sc.damage
		if d != nil && !d.known {
			if d.end > d.off {
				events = append(events, event{hole: true, off: d.off, end: d.end})
			}
			continue
		}
		r.promise = max(r.promise, f.synced)
		e := event{known: d != nil, seq: f.seq, pos: f.pos, to: f.end(), time: f.time, off: sc.off, end: sc.at}
		for i := range f.items {
			switch it := &f.items[i]; it.kind {
			case kindClose:
				e.closes = true
			case kindFree:
				e.says = true
				r.said[f.seq] = said{append(r.said[f.seq].frees, numbers(it.data)...), r.said[f.seq].notes}
			case kindRewritten:
				w := &rewriting{}
				if err := json.Unmarshal(it.data, w); err != nil {
					return nil, err
				}
				e.says = true
				r.said[f.seq] = said{r.said[f.seq].frees, append(r.said[f.seq].notes, w)}
			}
		}
		events = append(events, e)
	}
	return events, sc.err
}

// collect reads the segments that are not sealed and finds the damage: whatever can't be
// read although it was synced, according to a frame, a header, the slots or the states.
// Beyond that, the first invalid frame ends the log, whatever comes after it.
func (r *recovery) collect() error {
	h := r.newest
	first := h.Base + 1
	var open []*segment
	for _, l := range h.Live {
		g := newSegment(l)
		if w := r.covers(g); l.Last == 0 && !r.has(g) && w != nil { // newer headers are lost
			l, g = w.sealed, newSegment(w.sealed)
		}
		if l.Last == 0 {
			open, first = append(open, g), l.First
			continue
		}
		r.live, first = append(r.live, g), l.Last+1
	}
	open = append(open, newSegment(r.open(h, max(first, h.Base+1))))
	// First find out what was synced; only then decide what is damage.
	all := make([][]event, len(open))
	for i, g := range open {
		if !r.has(g) {
			continue
		}
		var err error
		if all[i], err = r.read(g, r.mark); err != nil {
			return err
		}
		if i+1 == len(open) {
			break
		}
		if n := len(all[i]); n > 0 && all[i][n-1].hole { // zeros; the next segment shows whether frames are missing
			all[i] = all[i][:n-1]
		}
		if n := len(all[i]); n > 0 {
			open[i+1].First = max(open[i+1].First, all[i][n-1].seq+1)
		}
	}
	r.exp, r.at = open[0].First, open[0].Position
	used := 0
	for i, g := range open {
		if i > 0 {
			g.First, g.Position = r.exp, r.at
		}
		if !r.has(g) {
			r.lose(g, r.at, fmt.Sprintf("%s is missing", g.name()))
		}
		kept, holed := all[i][:0], false
		var lost *sealed
		for _, e := range all[i] {
			if !e.hole && !r.isAgain(e, g) {
				used = i + 1
			}
			exp, at := r.exp, r.at
			if !r.ended && r.take(e, g) {
				if first := e.seq - e.more; len(kept) == 0 && first > exp && !holed { // frames are missing, and no hole in the segment stands for them
					lost = &sealed{
						First: exp, Last: first - 1, Position: at, End: e.pos, Time: r.time,
						Lost: fmt.Sprintf("frames %d to %d can't be read", exp, first-1),
					}
					g.First, g.Position = first, e.pos
				}
				kept = append(kept, e)
			}
			holed = holed || e.hole
		}
		r.found = append(r.found, found{g, kept, lost})
	}
	// A segment with frames has a successor, even if that is empty.
	if used > 0 {
		if n := open[used-1].Number + 1; len(r.files[n]) == 0 {
			r.lose(nil, r.at, fmt.Sprintf("%s is missing", fileName(n, 0, segmentSuffix)))
		}
	}
	if r.promise >= r.exp {
		r.damage(r.at, 0, fmt.Sprintf("frames %d to %d were synced, and are not there", r.exp, r.promise))
	}
	r.rewritten()
	for _, g := range r.live {
		if g.Lost == "" && !r.has(g) {
			r.lose(g, g.Position, fmt.Sprintf("%s is missing", g.name()))
		}
	}
	r.old = slices.Clone(r.live)
	return nil
}

// isBeyond reports whether frames after the given one were freed or rewritten. That
// happens only to frames that the states have, so these states are too old.
func (r *recovery) isBeyond(applied uint64) bool {
	next := applied + 1
	for _, g := range r.live {
		if g.Last < next {
			continue
		}
		if g.First > next || g.Revision > 0 {
			return true
		}
		next = g.Last + 1
	}
	for _, f := range r.found {
		if f.lost != nil { // lost by damage
			next = max(next, f.lost.Last+1)
		}
		if n := len(f.events); n > 0 && f.events[n-1].seq >= next {
			if f.g.First > next {
				return true
			}
			next = f.events[n-1].seq + 1
		}
	}
	return false
}

func (r *recovery) has(g *segment) bool { return slices.Contains(r.files[g.Number], g.Revision) }

// rewritten updates the sealed segments to those whose files count. That is what the
// frames say, unless such a file is missing and others hold the same: in a copy that was
// made during a rewriting, or if the frame that tells of it is damaged.
func (r *recovery) rewritten() {
	was := map[*segment][]*segment{}
	for _, w := range r.notes {
		i := slices.IndexFunc(r.live, func(g *segment) bool { return slices.Contains(w.Of, g.Number) })
		if i < 0 {
			continue
		}
		j := i + 1
		for j < len(r.live) && slices.Contains(w.Of, r.live[j].Number) {
			j++
		}
		g := newSegment(w.sealed)
		was[g] = slices.Clone(r.live[i:j])
		r.live = slices.Replace(r.live, i, j, g)
	}
	var all []*segment
	for _, g := range r.live {
		if !slices.Contains(r.freed, g.Number) {
			all = r.stands(all, g, was)
		}
	}
	r.live = all
}

// stands appends the segments whose files hold the content of a sealed segment.
func (r *recovery) stands(all []*segment, g *segment, was map[*segment][]*segment) []*segment {
	if n := len(all); n > 0 && all[n-1].Last >= g.Last { // joined with the one before
		return all
	}
	if g.Lost != "" || r.has(g) {
		return append(all, g)
	}
	if w := r.covers(g); w != nil {
		all = slices.DeleteFunc(all, func(other *segment) bool { return other.First >= w.First })
		return append(all, newSegment(w.sealed))
	}
	if len(was[g]) == 0 {
		return append(all, g)
	}
	for _, old := range was[g] {
		all = r.stands(all, old, was)
	}
	return all
}

// covers returns the newest rewritten file that includes a segment, or nil.
func (r *recovery) covers(g *segment) (newest *rewriting) {
	for _, h := range r.anew {
		w := h.Rewritten
		if h.Log == r.newest.Log && w.First <= g.First && g.Last <= w.Last && (newest == nil || w.Last-w.First > newest.Last-newest.First ||
			w.First == newest.First && w.Last == newest.Last && w.Revision > newest.Revision) {
			newest = w
		}
	}
	return newest
}

// A found is a segment that was not sealed, with its frames that count.
type found struct {
	g      *segment
	events []event
	lost   *sealed // frames before these that are missing
}

// after returns the offset in a segment after the frame with a sequence number. If it is
// not known, it returns an offset before that: perhaps that of the mark, which it then
// returns, too.
func (r *recovery) after(g *segment, seq uint64) (int64, *mark) {
	for _, f := range r.found {
		if f.g.Number == g.Number {
			if i := slices.IndexFunc(f.events, func(e event) bool { return e.seq > seq }); i >= 0 {
				return f.events[i].off, nil
			}
		}
	}
	if r.mark.isOf(g) && r.mark.Last <= seq {
		return r.mark.Size, r.mark
	}
	return g.Start, nil
}

// take reports whether an event is the next frame of the log. If frames are missing
// before it, they are damage, or the log has ended.
func (r *recovery) take(e event, g *segment) bool {
	first := e.seq - e.more
	if r.exp > r.promise && (e.hole || e.known || first != r.exp) {
		r.ended = true
		return false
	}
	if e.hole || e.seq < r.exp { // the frame after a hole shows what was lost in it
		return false
	}
	if first > r.exp {
		r.damage(r.at, e.pos, fmt.Sprintf("frames %d to %d of %s can't be read", r.exp, first-1, g.name()))
	}
	if e.known {
		r.damages = append(r.damages, Damage{e.pos, e.to, fmt.Sprintf("frame %d of %s: %v", e.seq, g.name(), errBody), true})
	}
	r.exp, r.at, r.time, r.closed = e.seq+1, e.to, max(r.time, e.time), e.closes && !r.isAgain(e, g)
	if e.says {
		r.freed, r.notes = append(r.freed, r.said[e.seq].frees...), append(r.notes, r.said[e.seq].notes...)
	}
	return true
}

// isAgain reports whether the newest opening wrote a frame again.
func (r *recovery) isAgain(e event, g *segment) bool {
	h := r.newest
	return g.Number == h.Opening && e.seq <= h.Base+h.Again
}

func (r *recovery) damage(from, to uint64, text string) {
	r.damages = append(r.damages, Damage{From: from, To: to, Text: text})
}

// lose notes that a file is missing, and with it perhaps a segment.
func (r *recovery) lose(g *segment, from uint64, text string) {
	r.missing = append(r.missing, text)
	end := uint64(0)
	if g != nil {
		g.Lost, end = text, g.End
	}
	r.damage(from, end, text)
}

// numbers decodes what appendNumbers appends.
func numbers(b []byte) (all []uint64) {
	d := decoder{rest: b}
	for len(d.rest) > 0 {
		if v := d.uvarint(); !d.bad {
			all = append(all, v)
		}
	}
	return all
}

func appendNumbers(dst []byte, all []uint64) []byte {
	for _, v := range all {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}
