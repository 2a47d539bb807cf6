package log

import (
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

	rebuild bool    // the states are made anew, whatever they are
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
