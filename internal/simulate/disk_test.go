package simulate

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/crashfs"
)

// A disk is an in-memory file system. It forgets what was not synced when power fails,
// fills up and breaks.
type disk struct {
	*crashfs.FS

	full    atomic.Bool // no room except the reserve
	broken  atomic.Bool // writes and syncs fail
	syncs   atomic.Bool // false: syncs succeed, and keep nothing
	pending atomic.Int64
	alarm   struct {
		sync.Mutex
		f func()
	}
}

func newDisk() *disk { return diskOf(crashfs.New(1)) }

func diskOf(fs *crashfs.FS) *disk {
	d := &disk{FS: fs}
	d.syncs.Store(true)
	return d
}

// after calls f during the n-th write or sync from now.
func (d *disk) after(n int64, f func()) {
	d.alarm.Lock()
	d.alarm.f = f
	d.alarm.Unlock()
	d.pending.Store(n)
}

// tick counts a write or a sync.
func (d *disk) tick() {
	if d.pending.Load() <= 0 || d.pending.Add(-1) != 0 {
		return
	}
	d.alarm.Lock()
	f := d.alarm.f
	d.alarm.f = nil
	d.alarm.Unlock()
	if f != nil {
		f()
	}
}

// left returns the contents of the disk after the process died, or after a power failure,
// in which case rng decides how much unsynced data is there.
func (d *disk) left(power bool, rng *rand.Rand) *disk {
	return diskOf(d.Crash(power, rng))
}

// reserve is the space that the stores of a simulation leave free.
const reserve = 1 << 20

func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	u := vfs.DiskUsage{TotalBytes: 1 << 30, AvailBytes: 1 << 29}
	if d.full.Load() {
		u.AvailBytes = reserve / 2
	}
	return u, nil
}

func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrap(d.FS.Create(name, c))
}

func (d *disk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrap(d.FS.ReuseForWrite(old, name, c))
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return d.wrap(d.FS.OpenReadWrite(name, c, o...))
}

func (d *disk) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{f, d}, nil
}

// Unwrap returns the underlying file system.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// A file is a file that was opened for writing.
type file struct {
	vfs.File
	d *disk
}

func (f *file) Write(b []byte) (int, error) {
	defer f.d.tick()
	if f.d.broken.Load() {
		return 0, syscall.EIO
	}
	return f.File.Write(b)
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	defer f.d.tick()
	if f.d.broken.Load() {
		return 0, syscall.EIO
	}
	return f.File.WriteAt(b, off)
}

func (f *file) sync(sync func() error) error {
	defer f.d.tick()
	switch {
	case f.d.broken.Load():
		return syscall.EIO
	case !f.d.syncs.Load():
		return nil
	}
	return sync()
}

func (f *file) Sync() error     { return f.sync(f.File.Sync) }
func (f *file) SyncData() error { return f.sync(f.File.SyncData) }

func (f *file) SyncTo(n int64) (bool, error) {
	full := false
	err := f.sync(func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}
