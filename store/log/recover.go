package log

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dictwire/dictwire/internal/storedir"
)

// A recovery is what an opening finds, and what follows from it.
//
// A log is opened anew with a segment of its own. Nothing is appended to an older
// one: what stands there beyond what was known to be synced may not be on the
// disk, though it can be read. It is written anew.
type recovery struct {
	s      *Store
	files  map[uint64][]uint64 // the revisions of the segments that are there
	heads  map[uint64]*header  // of the segments that are there, or of which another one tells; in brief
	anew   []*header           // of files that are there, of segments that were rewritten
	start  map[uint64]int64    // where their frames begin
	rest   []string            // files that are of no use once the log is open
	used   bool                // there is more than segments
	fresh  bool                // the log is new
	copied bool                // the directory is a backup that was never opened

	mark    *mark   // of the states; nil where there is none
	promise uint64  // the last frame of which anything says that it was synced
	newest  *header // of the opening that counts; nil in a new log
	next    uint64  // the number that no segment had
	gen     uint64  // the highest generation
	pos     uint64  // no block has a higher position
	time    int64   // of the last frame

	live    []*segment      // sealed
	found   []found         // not sealed
	exp     uint64          // the sequence number after the last frame
	at      uint64          // the position after it
	closed  bool            // it says that the log was closed
	ended   bool            // beyond, nothing counts
	freed   []uint64        // segments that the frames say are not needed
	notes   []*rewriting    // of which the frames tell
	said    map[uint64]said // by frame: so events, which are many, hold no pointers
	old     []*segment      // sealed, before this opening
	damages []Damage
	missing []string // files
}

// ErrDamaged is what Open wraps where files of the store are missing or can't be
// read: see Options.Salvage.
var ErrDamaged = errors.New("files of the store are missing or damaged")

const (
	statesName = "states"
	lockName   = "LOCK"
	backupName = "backup" // marks a copy
	temporary  = ".tmp"
)

// list looks at what is in the directory, and refuses what is not ours.
func (r *recovery) list() error {
	names, err := r.s.fs.List(r.s.dir)
	if err != nil {
		return err
	}
	r.files, r.heads, r.start = map[uint64][]uint64{}, map[uint64]*header{}, map[uint64]int64{}
	r.said = map[uint64]said{}
	var foreign []string
	for _, name := range names {
		n, rev, ok := parseName(name, segmentSuffix)
		no, revision, isIndex := parseName(name, indexSuffix)
		switch {
		case ok:
			r.files[n] = append(r.files[n], rev)
			r.next = max(r.next, n)
		case isTemporary(name):
			r.rest = append(r.rest, name)
		case isIndex && !slices.Contains(names, fileName(no, revision, segmentSuffix)):
			r.rest = append(r.rest, name)
		case isIndex, name == slotsName, name == statesName, name == lockName, name == backupName, name == reserveName:
		default:
			foreign = append(foreign, name)
		}
	}
	if err := r.checkVersions(names); err != nil {
		return err
	}
	if err := storedir.CheckEmpty(foreign); err != nil {
		return err
	}
	has := func(name string) bool { return slices.Contains(names, name) }
	r.copied, r.used = has(backupName), has(slotsName) || has(statesName) || has(backupName)
	if len(r.files) == 0 && r.used {
		return fmt.Errorf("%w: the segments (log-*%s) are missing", ErrDamaged, segmentSuffix)
	}
	return nil
}

// readHeads reads the headers of all segments.
func (r *recovery) readHeads() error {
	var stray []*header // in a file that has another one's name
	for n, revisions := range r.files {
		slices.Sort(revisions)
		for _, rev := range revisions {
			h, start, err := r.readHead(n, rev, true)
			if err != nil {
				return err
			}
			switch {
			case h == nil:
			case h.Number != n || h.revision() != rev:
				stray = append(stray, h)
			case h.Rewritten != nil:
				r.anew = append(r.anew, h)
				r.note(h)
			case r.heads[n] == nil:
				r.heads[n], r.start[n] = h, start
			}
		}
	}
	// What else there is was made after the first header was durable.
	if r.fresh = len(r.heads) == 0 && !r.used; len(r.heads) == 0 && r.used {
		return fmt.Errorf("%w: no segment has a valid header", ErrDamaged)
	}
	for _, h := range slices.Collect(maps.Values(r.heads)) {
		if h.Number == h.Opening || r.heads[h.Number-1] != nil {
			continue
		}
		h, _, err := r.readHead(h.Number, 0, false)
		if err != nil {
			return err
		}
		if h != nil && h.Previous != nil {
			r.heads[h.Previous.Number] = h.Previous
		}
	}
	for _, h := range r.heads {
		r.note(h)
	}
	for _, h := range stray {
		if slices.ContainsFunc(slices.Collect(maps.Values(r.heads)), func(o *header) bool { return o.Log == h.Log }) {
			r.note(h)
		}
	}
	return nil
}

// note notes what a header says of the log that is true wherever it stands: what was
// synced, and which numbers and positions were given.
func (r *recovery) note(h *header) {
	r.promise = max(r.promise, h.Synced)
	r.gen = max(r.gen, h.Generation)
	r.pos = max(r.pos, h.Next)
	r.time = max(r.time, h.Time)
	r.next = max(r.next, h.Number)
	for _, l := range h.Live {
		r.next = max(r.next, l.Number)
		r.pos = max(r.pos, l.End, l.Position)
	}
}

// readHead reads one header, perhaps in brief; nil where it is not valid.
func (r *recovery) readHead(n, rev uint64, brief bool) (*header, int64, error) {
	f, err := r.s.fs.Open(r.s.path(fileName(n, rev, segmentSuffix)))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	h, start, err := readHeader(f, brief)
	if err != nil {
		return nil, 0, nil // what it says may stand elsewhere
	}
	return h, start, nil
}

// choose finds the newest opening that was finished, and its newest header.
//
// An opening was finished when a segment follows its own, or a frame stands
// after those that it wrote anew, or those are whole. Another one is as if it had
// not begun: what it wrote anew stands where it was.
func (r *recovery) choose() error {
	openings := map[uint64]uint64{} // with the number of its newest segment
	for n, h := range r.heads {
		openings[h.Opening] = max(openings[h.Opening], n)
	}
	for _, o := range slices.Backward(slices.Sorted(maps.Keys(openings))) {
		newest := openings[o]
		if newest == o {
			ok, err := r.finished(r.heads[o])
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		return r.readNewest(newest)
	}
	return fmt.Errorf("%w: no opening of the log was finished", ErrDamaged)
}

// readNewest reads what the header says by which the log goes on.
func (r *recovery) readNewest(n uint64) error {
	r.newest = r.heads[n]
	if _, ok := r.start[n]; !ok { // another segment repeats it
		return nil
	}
	h, _, err := r.readHead(n, 0, false)
	if h != nil {
		r.newest = h
	}
	return err
}

// finished reports whether an opening of which there is one segment was.
func (r *recovery) finished(h *header) (bool, error) {
	if len(r.files[h.Number]) == 0 {
		return false, nil
	}
	events, err := r.read(newSegment(r.open(h, h.Base+1)), nil)
	if err != nil {
		return false, err
	}
	top, whole, beyond := h.Base+h.Again, uint64(0), false
	for _, e := range events {
		if !e.hole && e.seq == h.Base+whole+1 {
			whole++
		}
		beyond = beyond || !e.hole && e.seq > top
	}
	return beyond || whole >= h.Again || r.promise > top, nil
}

// open returns what is known of a segment that is not sealed.
func (r *recovery) open(h *header, first uint64) sealed {
	l := sealed{Number: h.Number, Salt: h.Salt, First: first, Position: h.Position, Start: h.Start}
	if start, ok := r.start[h.Number]; ok {
		l.Start = start
	}
	return l
}

// An event is what stands in a segment that may not be sealed: a frame, or what
// is none, or all that comes before a mark.
type event struct {
	hole     bool
	known    bool   // a frame whose header is whole, and the rest is not
	seq      uint64 // of the frame, or of the last one
	more     uint64 // frames, before that one
	pos, to  uint64 // positions
	time     int64
	off, end int64
	closes   bool
	says     bool // more: see recovery.said
}

// A said is what a frame says of older segments.
type said struct {
	frees []uint64     // they are not needed
	notes []*rewriting // they were rewritten
}

// readOn reads a segment that may not be sealed from the mark on, if it has one.
func (r *recovery) readOn(g *segment) ([]event, error) {
	if !r.mark.isOf(g) {
		return r.read(g, nil)
	}
	events, err := r.read(g, r.mark)
	if err == nil && (len(events) < 2 || events[1].hole || events[1].seq != r.mark.Last+1) {
		return r.read(g, nil)
	}
	return events, err
}

// read reads a segment that may not be sealed, and notes what its frames say was
// synced.
func (r *recovery) read(g *segment, from *mark) (events []event, err error) {
	sc, err := r.s.scan(g, g.Start, 0)
	if err != nil {
		return nil, err
	}
	defer sc.close()
	if from != nil {
		sc.at, sc.seq, sc.pos = from.Size, from.Last+1, from.End
		events = append(events, from.event())
		r.said[from.Last] = said{from.Frees, from.Notes}
	}
	info, err := sc.file.Stat()
	if err != nil {
		return nil, err
	}
	sc.limit = info.Size()
	for sc.next() {
		if n := len(events); n == cap(events) && n > 0 { // as many more as there should be, but at most 8 times as many
			more := float64(n) * float64(sc.limit-sc.at) / float64(sc.at-g.Start)
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

// collect reads the segments that are not sealed, and says what is damaged: what
// can't be read though something says that it was synced. Beyond that, the first
// frame that is not valid ends the log, whatever stands after it.
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
	// All that says what was synced counts, before anything is judged by it.
	all := make([][]event, len(open))
	for i, g := range open {
		if !r.has(g) {
			continue
		}
		var err error
		if all[i], err = r.readOn(g); err != nil {
			return err
		}
		if n := len(all[i]); n > 0 && i+1 < len(open) {
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
			if !e.hole && (g.Number != h.Opening || e.seq > h.Base+h.Again) {
				used = i + 1
			}
			exp, at := r.exp, r.at
			if !r.ended && r.take(e, g) {
				if first := e.seq - e.more; len(kept) == 0 && first > exp && !holed { // nothing in the segment tells of them
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
	// A segment that was written to has a successor, even if that is empty.
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

func (r *recovery) has(g *segment) bool { return slices.Contains(r.files[g.Number], g.Revision) }

// rewritten makes the sealed segments those whose files count. That is what the frames
// say, unless such a file is not there, and what has the same is: in a copy that was
// made meanwhile, or where the frame that says so is damaged.
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

// stands appends the segments whose files hold what a sealed segment does.
func (r *recovery) stands(all []*segment, g *segment, was map[*segment][]*segment) []*segment {
	if n := len(all); n > 0 && all[n-1].Last >= g.Last { // it became one with others
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

// covers returns the newest file with what is left of a segment, and perhaps of others,
// nil where there is none.
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

// A found is a segment that was not sealed, and the frames in it that count.
type found struct {
	g      *segment
	events []event
	lost   *sealed // frames that should stand before, and stand nowhere
}

// after returns where the frames of a segment begin that come after one, or a place before,
// where that is not known: perhaps the mark, which it then returns, too.
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

// take reports whether an event is the next frame of the log. What is missing
// before it is damaged, or the log has ended.
func (r *recovery) take(e event, g *segment) bool {
	first := e.seq - e.more
	if r.exp > r.promise && (e.hole || e.known || first != r.exp) {
		r.ended = true
		return false
	}
	if e.hole || e.seq < r.exp { // what comes after a hole says what stood there
		return false
	}
	if first > r.exp {
		r.damage(r.at, e.pos, fmt.Sprintf("frames %d to %d of %s can't be read", r.exp, first-1, g.name()))
	}
	if e.known {
		r.damages = append(r.damages, Damage{e.pos, e.to, fmt.Sprintf("frame %d of %s: %v", e.seq, g.name(), errBody), true})
	}
	r.exp, r.at, r.time, r.closed = e.seq+1, e.to, max(r.time, e.time), e.closes
	if e.says {
		r.freed, r.notes = append(r.freed, r.said[e.seq].frees...), append(r.notes, r.said[e.seq].notes...)
	}
	return true
}

func (r *recovery) damage(from, to uint64, text string) {
	r.damages = append(r.damages, Damage{From: from, To: to, Text: text})
}

// lose notes that a file is missing, and perhaps a segment with it.
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
	for len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		all, b = append(all, v), b[n:]
	}
	return all
}

func appendNumbers(dst []byte, all []uint64) []byte {
	for _, v := range all {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

// leap is how far positions go on where nobody knows which were used.
const leap = 1 << 32

// begin decides how the log goes on.
func (r *recovery) begin() (h *header, again []raw, err error) {
	s, last := r.s, r.exp-1
	h = &header{Number: r.next + 1, Opening: r.next + 1, Salt: random(), Generation: r.gen + 1, Base: last}
	if r.newest == nil {
		h.Log, h.Position, h.Next = fmt.Sprintf("%016x", random()), 1, 1
		return h, nil, nil
	}
	h.Log, h.Gaps, h.Damage = r.newest.Log, r.newest.Gaps, r.newest.Damage
	for _, d := range r.damages {
		if !slices.Contains(h.Damage, d) {
			h.Damage = append(h.Damage, d)
		}
	}
	h.Tag, h.Time = r.newest.Tag, r.time
	if len(r.damages) > 0 {
		h.Base = max(r.promise, last)
	} else if r.promise < last && !s.opts.ReadOnly {
		h.Base = r.promise
	}
	h.Synced = h.Base
	h.Next = max(r.pos, r.at)
	open := slices.ContainsFunc(r.damages, func(d Damage) bool { return d.To == 0 })
	if open || !s.opts.ReadOnly && (!r.closed || len(r.damages) > 0 || h.Next > r.at) {
		h.Next += leap
		h.Gaps = append(h.Gaps, gap{r.at, h.Next})
		h.Gaps = h.Gaps[max(0, len(h.Gaps)-maxGaps):]
	}
	for i := range h.Damage {
		if d := &h.Damage[i]; d.To == 0 {
			d.To = h.Next
		}
	}
	if s.opts.Salvage && !s.opts.ReadOnly {
		h.Damage = nil
	}
	for _, f := range r.found {
		if again, err = r.seal(f, h, again); err != nil {
			return nil, nil, err
		}
	}
	if lost := h.Base; len(r.damages) > 0 && lost > last {
		r.live = append(r.live, newSegment(sealed{
			First: last + 1, Last: lost, Position: r.at, End: h.Next, Time: r.time,
			Lost: fmt.Sprintf("frames %d to %d are missing", last+1, lost),
		}))
	}
	h.Again, h.Position = uint64(len(again)), h.Next
	if len(again) > 0 {
		h.Position = again[0].pos
	}
	for _, g := range r.live {
		h.Live = append(h.Live, g.sealed)
	}
	return h, again, nil
}

// maxGaps is how many gaps a header tells of.
const maxGaps = 256

// seal makes a segment that was found one that is sealed, up to the new opening's
// base. What stands beyond that is to be written anew.
func (r *recovery) seal(f found, h *header, again []raw) ([]raw, error) {
	if f.lost != nil {
		r.live = append(r.live, newSegment(*f.lost))
	}
	l := f.g.sealed
	l.Last, l.Size, l.End, l.Time = 0, l.Start, l.Position, r.time
	for i, e := range f.events {
		if i == 0 {
			l.Time = e.time
		}
		if e.seq <= h.Base {
			l.Last, l.Size, l.End = e.seq, e.end, e.to
			continue
		}
		b, err := r.bytes(f.g, e)
		if err != nil {
			return nil, err
		}
		again = append(again, raw{e.pos, b})
	}
	if l.Last > 0 {
		r.live = append(r.live, newSegment(l))
	}
	return again, nil
}

// A raw is the bytes of a frame.
type raw struct {
	pos uint64
	b   []byte
}

// bytes reads the bytes of a frame.
func (r *recovery) bytes(g *segment, e event) ([]byte, error) {
	f, err := r.s.fs.Open(r.s.path(g.name()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, e.end-e.off)
	_, err = f.ReadAt(b, e.off)
	return b, err
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) >> 1
}
