package pebble

import (
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// A reserve watches how much of the disk is free: every second, or after so many
// bytes, while something is written.
type reserve struct {
	fs   vfs.FS
	dir  string
	want int64 // as in Options.Reserve

	mu      sync.Mutex
	looked  time.Time
	written int // bytes since
	err     error
}

const (
	lookEvery      = time.Second
	lookEveryBytes = 64 << 20
)

func (r *reserve) open(fs vfs.FS, dir string, want int64) { r.fs, r.dir, r.want = fs, dir, want }

// check returns an error where there is no room to write n bytes.
func (r *reserve) check(n int) error {
	if r.want < 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written += n
	if now := time.Now(); r.looked.IsZero() || r.written > lookEveryBytes || now.Sub(r.looked) > lookEvery {
		r.looked, r.written, r.err = now, 0, r.look()
	}
	return r.err
}

func (r *reserve) look() error {
	u, err := r.fs.GetDiskUsage(r.dir)
	if err != nil {
		return nil //nolint:nilerr // a file system that can't tell has no reserve
	}
	want := uint64(r.want)
	if want == 0 {
		want = max(1<<30, u.TotalBytes/50)
	}
	if u.AvailBytes >= want {
		return nil
	}
	return fmt.Errorf("%w: %d MiB of the disk are free, and %d are the reserve", store.ErrUnavailable, u.AvailBytes>>20, want>>20)
}
