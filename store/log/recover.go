package log

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dictwire/dictwire/internal/storedir"
)

// A recovery is what an opening finds on the disk, and its conclusions.
//
// An opening starts a segment of its own, and appends nothing to older ones: frames there
// that were not known to be synced may be readable without being on the disk. They are
// written again.
type recovery struct {
	s      *Store
	files  map[uint64][]uint64 // the revisions of each segment
	heads  map[uint64]*header  // of the segments, also those that only another header describes; in brief
	anew   []*header           // of rewritten segments' files
	start  map[uint64]int64    // where the frames of each segment begin
	rest   []string            // files that are useless once the log is open
	used   bool                // there are files other than segments
	fresh  bool                // the log is new
	copied bool                // the directory is a backup that was never opened

	rebuild bool    // the states must be rebuilt
	mark    *mark   // of the states, or nil
	promise uint64  // the last frame that is said to be synced
	newest  *header // of the opening that counts; nil for a new log
	next    uint64  // a segment number above all others
	gen     uint64  // the highest generation
	pos     uint64  // above all positions of blocks
	time    int64   // of the last frame

	live    []*segment      // sealed
	found   []found         // not sealed
	exp     uint64          // the sequence number after the last frame
	at      uint64          // the position after that frame
	closed  bool            // that frame says that the log was closed
	ended   bool            // no more frames count
	freed   []uint64        // segments that are no longer needed, according to the frames
	notes   []*rewriting    // rewritings, according to the frames
	said    map[uint64]said // by frame; kept apart, so that the many events hold no pointers
	old     []*segment      // sealed ones, before this opening
	damages []Damage
	missing []string // files
}

// ErrDamaged is wrapped by the error of Open if files of the store are missing or can't
// be read: see Options.Salvage.
var ErrDamaged = errors.New("files of the store are missing or damaged")

const (
	statesName = "states"
	lockName   = "LOCK"
	backupName = "backup" // marks a copy
	temporary  = ".tmp"
)

// list lists the directory, and refuses one that holds something else.
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
	var stray []*header // in files named after another segment
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
	// Anything else was made after the first header was durable.
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

// note notes what a header says that holds even if its opening does not count: what was
// synced, and which numbers and positions were used.
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

// readHead reads a header, perhaps in brief. It returns nil if the header is invalid.
func (r *recovery) readHead(n, rev uint64, brief bool) (*header, int64, error) {
	f, err := r.s.fs.Open(r.s.path(fileName(n, rev, segmentSuffix)))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	h, start, err := readHeader(f, brief)
	if err != nil {
		return nil, 0, nil // another header may repeat it
	}
	return h, start, nil
}

// choose finds the newest finished opening and its newest header.
//
// An opening is finished if its segment has a successor, or has a frame after those that
// it wrote again, or if those are all intact. An unfinished opening does not count:
// whatever it wrote again is still in the old segments.
func (r *recovery) choose() error {
	openings := map[uint64]uint64{} // the newest segment of each
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

// readNewest reads the header by which the log continues.
func (r *recovery) readNewest(n uint64) error {
	r.newest = r.heads[n]
	if _, ok := r.start[n]; !ok { // the header of another segment repeats it
		return nil
	}
	h, _, err := r.readHead(n, 0, false)
	if h != nil {
		r.newest = h
	}
	return err
}

// finished reports whether an opening with a single segment was finished.
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

// open describes a segment that is not sealed.
func (r *recovery) open(h *header, first uint64) sealed {
	l := sealed{Number: h.Number, Salt: h.Salt, First: first, Position: h.Position, Start: h.Start}
	if start, ok := r.start[h.Number]; ok {
		l.Start = start
	}
	return l
}
