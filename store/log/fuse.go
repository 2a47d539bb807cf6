package log

import (
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A fuse is the engine's file system. The engine would end the process after a failed
// write. So, after the first failure, a fuse pretends that all further writes succeed,
// and writes nothing. The states then stay in memory, and the disk has those of the last
// checkpoint; the log has the rest. The next checkpoint reopens the engine.
type fuse struct {
	vfs.FS
	blown  *atomic.Pointer[error]
	locked bool // the directory is locked
}

func newFuse(fs vfs.FS) fuse { return fuse{FS: fs, blown: new(atomic.Pointer[error])} }

// Lock implements [vfs.FS].
func (f fuse) Lock(name string) (io.Closer, error) {
	if f.locked {
		return io.NopCloser(nil), nil
	}
	return f.FS.Lock(name)
}

// err returns the failure that blew the fuse, or nil.
func (f fuse) err() error {
	if p := f.blown.Load(); p != nil {
		return *p
	}
	return nil
}

// try calls do, which changes something, unless the fuse is blown.
func (f fuse) try(do func() error) error {
	if f.err() == nil {
		if err := do(); err != nil {
			f.blown.CompareAndSwap(nil, &err)
		}
	}
	return nil
}

func (f fuse) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		f.blown.CompareAndSwap(nil, &err)
		return nil, err
	}
	return fuseFile{file, f}, nil
}

// Create implements [vfs.FS].
func (f fuse) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.err() != nil {
		return vfs.NewMem().Create("void", c)
	}
	return f.wrap(f.FS.Create(name, c))
}

// ReuseForWrite implements [vfs.FS].
func (f fuse) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.err() != nil {
		return vfs.NewMem().Create("void", c)
	}
	return f.wrap(f.FS.ReuseForWrite(old, name, c))
}

// Remove implements [vfs.FS].
func (f fuse) Remove(name string) error {
	return f.try(func() error { return f.FS.Remove(name) })
}

// Rename implements [vfs.FS].
func (f fuse) Rename(old, name string) error {
	return f.try(func() error { return f.FS.Rename(old, name) })
}

// OpenDir implements [vfs.FS].
func (f fuse) OpenDir(name string) (vfs.File, error) {
	d, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return fuseFile{d, f}, nil
}

// Unwrap returns the file system within.
func (f fuse) Unwrap() vfs.FS { return f.FS }

type fuseFile struct {
	vfs.File
	f fuse
}

func (f fuseFile) Write(b []byte) (int, error) {
	return len(b), f.f.try(func() error { _, err := f.File.Write(b); return err })
}

func (f fuseFile) Sync() error     { return f.f.try(f.File.Sync) }
func (f fuseFile) SyncData() error { return f.f.try(f.File.SyncData) }

func (f fuseFile) SyncTo(n int64) (full bool, err error) {
	err = f.f.try(func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}
