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

// A reserve checks that enough of the disk stays free, and reserves room for work that
// frees space: a file as large as a segment, without content. On a full disk it is
// removed before a trim, a free or a rewriting. Until it is there again, nothing else is
// written.
type reserve struct {
	fs    vfs.FS
	dir   string
	want  uint64 // bytes that stay free
	total uint64 // of the disk; 0 if unknown

	mu     sync.Mutex
	looked time.Time
	left   int64 // bytes that may be written before the next look
	err    error // why nothing more may be written
	size   int64 // wanted size of the file
	held   int64 // actual size
	spent  bool  // it was removed for work that frees space
	never  bool  // room can't be reserved
	users  int   // work in progress for which it was removed
	short  bool  // there was no room for the latest segment
}

const (
	// lookEvery is how long a look at the disk counts.
	lookEvery = time.Second

	reserveName = "reserve"
	minHeld     = 1 << 20
)

// open takes the first look. It returns an error if nothing could ever be written.
func (r *reserve) open(fs vfs.FS, dir string, want int64) error {
	r.fs, r.dir = fs, dir
	if info, err := fs.Stat(r.path()); err == nil && !info.IsDir() {
		r.held = 1 // or more
	}
	u, err := fs.GetDiskUsage(dir)
	if err != nil {
		r.want = 0
		return nil //nolint:nilerr // no figures, no reserve
	}
	r.total = u.TotalBytes
	r.want, err = storedir.Reserve(want, storedir.Usual(u.TotalBytes), u.TotalBytes, working)
	return err
}

// working is the space for the first segments and a checkpoint.
const working = 12 << 20

func (r *reserve) path() string { return r.fs.PathJoin(r.dir, reserveName) }

// hold makes the file at least as large as size, and makes it again if it was removed.
// The error is transient.
func (r *reserve) hold(size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size = max(r.size, size); r.size > r.held {
		return r.fill()
	}
	return nil
}

// fill makes the file as large as wanted. r.mu is held.
func (r *reserve) fill() error {
	switch {
	case r.never:
		return nil
	case r.users > 0 && r.spent: // the room is in use
		return syscall.ENOSPC
	}
	f, err := r.fs.OpenReadWrite(r.path(), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, r.size), f.Close())
	}
	switch {
	case err == nil:
		r.held, r.spent, r.err, r.looked = r.size, false, nil, time.Time{}
	case passes(err) && r.held > 0: // keep what there is
	case passes(err):
		r.remove()
		r.spent = true
	default:
		r.remove()
		r.never, r.spent, err = true, false, nil
	}
	return err
}

// spend frees the room for work that needs n bytes, unless the disk has them free.
func (r *reserve) spend(n int64) {
	if r.lacks(n) {
		r.release()
	}
}

// lacks reports whether fewer than n bytes are free on the disk.
func (r *reserve) lacks(n int64) bool {
	u, err := r.fs.GetDiskUsage(r.dir)
	return err == nil && u.AvailBytes < uint64(n)
}

// use is spend for work that takes a while. Nobody else takes the room until done is
// called.
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

// isSpent reports whether the file was removed.
func (r *reserve) isSpent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spent
}

// isShort reports whether appends wait for room, or the file is too small.
func (r *reserve) isShort() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spent || r.short || r.size > r.held && !r.never
}

// release removes the file, and reports whether there was one.
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
	_ = r.fs.Remove(r.path()) // if that fails, it is tried again
}

// check returns an error if there is no room to write n bytes.
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
		return nil //nolint:nilerr // no figures, no reserve
	}
	if u.AvailBytes >= r.want {
		r.left = min(r.left, int64((u.AvailBytes-r.want)/2))
		return nil
	}
	return fmt.Errorf("%w: %d MiB of the disk are free, and %d are the reserve", store.ErrUnavailable, u.AvailBytes>>20, r.want>>20)
}

// maxSegment returns the largest size of a segment: on a small disk, a sixteenth of it.
func (s *Store) maxSegment() int64 {
	if s.reserve.total == 0 {
		return s.opts.MaxSegment
	}
	return min(s.opts.MaxSegment, max(int64(min(s.reserve.total/16, 1<<62)), minSegment))
}

// holdRoom reserves room for the largest segment, if the disk has it.
func (s *Store) holdRoom() {
	size := min(minHeld, s.opts.MaxSegment)
	for _, g := range s.segments.list() {
		size = max(size, min(g.size.Load(), s.maxSegment()))
	}
	_ = s.reserve.hold(size) // appends wait until it is there
}
