package pebble

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/storedir"
	"github.com/dictwire/dictwire/store"
)

// A reserve watches how much of the disk is free while something is written,
// and whether the engine can write its tables.
type reserve struct {
	fs   vfs.FS
	dir  string
	want uint64 // bytes that stay free
	none bool   // it is not looked after

	mu      sync.Mutex
	looked  time.Time
	left    int64 // bytes that may be written until it looks again
	err     error // why nothing more is written
	stalled error // why the engine can't write

	stuck chan struct{} // holds one while stalled is not nil
}

// lookEvery is how long what was seen of the disk counts.
const lookEvery = time.Second

// open looks at the disk of a directory. want is Options.Reserve.
func (r *reserve) open(fs vfs.FS, dir string, want int64) error {
	r.fs, r.dir = fs, dir
	u, err := fs.GetDiskUsage(dir)
	if want < 0 || err != nil {
		r.none = true
		return nil //nolint:nilerr // a file system that can't tell has no reserve
	}
	r.want, err = storedir.Reserve(want, storedir.Usual(u.TotalBytes), u.TotalBytes, memTables*memTable)
	return err
}

// roomToOpen returns an error where there is no room for the tables that the
// engine makes of its log, without which it does not open.
func roomToOpen(fs vfs.FS, dir string) error {
	u, err := fs.GetDiskUsage(dir)
	if err != nil {
		return nil //nolint:nilerr // a file system that can't tell has no room to look after
	}
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	want := uint64(0)
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		want += uint64(info.Size())
	}
	if want < 1<<20 || u.AvailBytes >= want {
		return nil
	}
	return fmt.Errorf("%w: %d MiB of the disk are free, and %d are needed to open it", store.ErrUnavailable, u.AvailBytes>>20, want>>20)
}

// check returns an error where there is no room to write n bytes.
func (r *reserve) check(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stalled != nil || r.none {
		return r.stalled
	}
	r.left -= int64(n)
	if now := time.Now(); r.left < 0 || now.Sub(r.looked) > lookEvery {
		r.looked, r.err = now, r.look()
	}
	return r.err
}

// stall returns why the engine can't write its tables, nil where it can.
func (r *reserve) stall() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stalled
}

// setStall notes why the engine can't write its tables, or that it can.
func (r *reserve) setStall(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stalled = err
	select {
	case <-r.stuck:
	default:
	}
	if err != nil {
		r.stuck <- struct{}{}
	}
}

func (r *reserve) look() error {
	r.left = 64 << 20
	u, err := r.fs.GetDiskUsage(r.dir)
	if err != nil {
		return nil //nolint:nilerr // a file system that can't tell has no reserve
	}
	want := r.want + memTables*memTable
	if u.AvailBytes >= want {
		// What is written is on the disk several times for a while.
		r.left = min(r.left, int64((u.AvailBytes-want)/4))
		return nil
	}
	return fmt.Errorf("%w: %d MiB of the disk are free, and %d are the reserve and for what is in memory", store.ErrUnavailable, u.AvailBytes>>20, want>>20)
}

// patient is a file system in which the engine waits a little before it tries
// again to write a table.
type patient struct {
	vfs.FS
	r *reserve
}

const retryEvery = 100 * time.Millisecond

func (p patient) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if p.r.stall() != nil && strings.HasSuffix(name, ".sst") {
		time.Sleep(retryEvery)
	}
	return p.FS.Create(name, c)
}

// Unwrap returns the file system within.
func (p patient) Unwrap() vfs.FS { return p.FS }
