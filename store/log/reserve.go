package log

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/storedir"
	"github.com/dictwire/dictwire/store"
)

// A reserve watches how much of the disk is free while something is written, and holds
// room for what gives space back: a file that is as large as a segment, and has no
// content. Where the disk is full, it is removed before something is trimmed, freed or
// rewritten, and nothing else is written until it is there again.
type reserve struct {
	fs    vfs.FS
	dir   string
	want  uint64 // bytes that stay free
	total uint64 // of the disk; 0 where it is not known

	mu     sync.Mutex
	looked time.Time
	left   int64 // bytes that may be written until it looks again
	err    error // why nothing more is written
	size   int64 // that the file should have
	held   int64 // that it has
	spent  bool  // it was removed for what gives space back
	never  bool  // no room can be held
	users  int   // for whom it was removed, and who are not done
	short  bool  // there was no room for the last segment
}

const (
	// lookEvery is how long what was seen of the disk counts.
	lookEvery = time.Second

	reserveName = "reserve"
	minHeld     = 1 << 20
)

// open begins to watch. The error says that nothing could ever be written.
func (r *reserve) open(fs vfs.FS, dir string, want int64) error {
	r.fs, r.dir = fs, dir
	if info, err := fs.Stat(r.path()); err == nil && !info.IsDir() {
		r.held = 1 // or more
	}
	u, err := fs.GetDiskUsage(dir)
	if err != nil {
		r.want = 0
		return nil //nolint:nilerr // a file system that can't tell has no reserve
	}
	r.total = u.TotalBytes
	r.want, err = storedir.Reserve(want, storedir.Usual(u.TotalBytes), u.TotalBytes, working)
	return err
}

// working is what the first segments and a checkpoint of the states take.
const working = 12 << 20

func (r *reserve) path() string { return r.fs.PathJoin(r.dir, reserveName) }

// hold makes the file at least as large as size. What was spent is there again then.
// The error says why it is not, and passes.
func (r *reserve) hold(size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size = max(r.size, size); r.size > r.held {
		return r.fill()
	}
	return nil
}

// fill makes the file as large as it should be. r.mu is held.
func (r *reserve) fill() error {
	switch {
	case r.never:
		return nil
	case r.users > 0 && r.spent: // it is theirs
		return syscall.ENOSPC
	}
	f, err := r.fs.OpenReadWrite(r.path(), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, r.size), f.Close())
	}
	switch {
	case err == nil:
		r.held, r.spent, r.err, r.looked = r.size, false, nil, time.Time{}
	case passes(err) && r.held > 0: // what there is stays
	case passes(err):
		r.remove()
		r.spent = true
	default:
		r.remove()
		r.never, r.spent, err = true, false, nil
	}
	return err
}

// spend gives back the room for something of n bytes, if there is less on the disk.
func (r *reserve) spend(n int64) {
	if r.lacks(n) {
		r.release()
	}
}

// lacks reports whether fewer bytes than n are free on the disk.
func (r *reserve) lacks(n int64) bool {
	u, err := r.fs.GetDiskUsage(r.dir)
	return err == nil && u.AvailBytes < uint64(n)
}

// use is spend for something that takes a while, in which nobody else takes the room;
// it returns what ends that.
func (r *reserve) use(n int64) (done func()) {
	r.mu.Lock()
	r.users++
	r.mu.Unlock()
	r.spend(n)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.users--
	}
}

// lacked notes whether there was no room for a segment.
func (r *reserve) lacked(room bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = room
}

// isSpent reports whether the room is not there.
func (r *reserve) isSpent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spent
}

// isShort reports whether appends wait for room, or not enough is held.
func (r *reserve) isShort() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spent || r.short || r.size > r.held && !r.never
}

// release gives back the room, and reports whether there was any.
func (r *reserve) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == 0 {
		return false
	}
	r.remove()
	r.spent = true
	return true
}

func (r *reserve) remove() {
	r.held = 0
	_ = r.fs.Remove(r.path()) // where it stays, it is tried again
}

// check returns an error where there is no room to write n bytes.
func (r *reserve) check(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.want == 0 && !r.spent && r.err == nil {
		return nil
	}
	r.left -= int64(n)
	if now := time.Now(); r.left < 0 || r.spent && r.err == nil || now.Sub(r.looked) > lookEvery {
		r.looked, r.err = now, r.look()
	}
	return r.err
}

func (r *reserve) look() error {
	r.left = 64 << 20
	if r.spent {
		if err := r.fill(); err != nil {
			return fmt.Errorf("%w: the disk is full: what is trimmed makes room", store.ErrUnavailable)
		}
	}
	u, err := r.fs.GetDiskUsage(r.dir)
	if err != nil || r.want == 0 {
		return nil //nolint:nilerr // a file system that can't tell has no reserve
	}
	if u.AvailBytes >= r.want {
		r.left = min(r.left, int64((u.AvailBytes-r.want)/2))
		return nil
	}
	return fmt.Errorf("%w: %d MiB of the disk are free, and %d are the reserve", store.ErrUnavailable, u.AvailBytes>>20, r.want>>20)
}

// maxSegment returns how large segments grow: on a small disk, to a sixteenth of it.
func (s *Store) maxSegment() int64 {
	if s.reserve.total == 0 {
		return s.opts.MaxSegment
	}
	return min(s.opts.MaxSegment, max(int64(min(s.reserve.total/16, 1<<62)), minSegment))
}

// holdRoom holds as much room as the largest segment takes, where there is so much.
func (s *Store) holdRoom() {
	size := min(minHeld, s.opts.MaxSegment)
	for _, g := range s.segments.list() {
		size = max(size, min(g.size.Load(), s.maxSegment()))
	}
	_ = s.reserve.hold(size) // appends wait until it is there
}
