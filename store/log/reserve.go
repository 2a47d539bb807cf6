package log

import (
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/storedir"
	"github.com/dictwire/dictwire/store"
)

// A reserve watches how much of the disk is free while something is written.
type reserve struct {
	fs   vfs.FS
	dir  string
	want uint64 // bytes that stay free

	mu     sync.Mutex
	looked time.Time
	left   int64 // bytes that may be written until it looks again
	err    error // why nothing more is written
}

// lookEvery is how long what was seen of the disk counts.
const lookEvery = time.Second

// open begins to watch. The error says that nothing could ever be written.
func (r *reserve) open(fs vfs.FS, dir string, want int64) error {
	r.fs, r.dir = fs, dir
	u, err := fs.GetDiskUsage(dir)
	if err != nil {
		r.want = 0
		return nil //nolint:nilerr // a file system that can't tell has no reserve
	}
	r.want, err = storedir.Reserve(want, storedir.Usual(u.TotalBytes), u.TotalBytes, working)
	return err
}

// working is what the first segments and a checkpoint of the states take.
const working = 12 << 20

// check returns an error where there is no room to write n bytes.
func (r *reserve) check(n int) error {
	if r.want == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left -= int64(n)
	if now := time.Now(); r.left < 0 || now.Sub(r.looked) > lookEvery {
		r.looked, r.err = now, r.look()
	}
	return r.err
}

func (r *reserve) look() error {
	r.left = 64 << 20
	u, err := r.fs.GetDiskUsage(r.dir)
	if err != nil {
		return nil //nolint:nilerr // a file system that can't tell has no reserve
	}
	if u.AvailBytes >= r.want {
		r.left = min(r.left, int64((u.AvailBytes-r.want)/2))
		return nil
	}
	return fmt.Errorf("%w: %d MiB of the disk are free, and %d are the reserve", store.ErrUnavailable, u.AvailBytes>>20, r.want>>20)
}
