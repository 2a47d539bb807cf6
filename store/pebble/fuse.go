package pebble

import (
	"errors"
	"path"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A fuse is a file system that fails once. Where the log can't be written, the
// engine would end the process by a panic that nobody can recover. So it is not
// told: the store fails, acknowledges nothing from then on, and the disk stays as
// it was. Nothing more is written to it, renamed or removed, whatever the engine
// believes.
type fuse struct {
	vfs.FS
	s *Store
}

var errBlown = errors.New("nothing is written any more")

// blown reports whether nothing is to be written any more.
func (f fuse) blown() bool { return f.s.failed() != nil }

// change does what changes the disk. What becomes of a log is nil where that is
// not to be told to the engine.
func (f fuse) change(log bool, do func() error) error {
	if f.blown() {
		if log {
			return nil
		}
		return errBlown
	}
	err := do()
	if log && err != nil {
		f.s.fail(err)
		return nil
	}
	return err
}

// open opens a file for writing.
func (f fuse) open(name string, do func() (vfs.File, error)) (file vfs.File, err error) {
	log := isLog(name)
	err = f.change(log, func() (err error) { file, err = do(); return err })
	switch {
	case err != nil:
		return nil, err
	case file == nil:
		file = noFile{}
	}
	return fusedFile{file, f, log}, nil
}

func isLog(name string) bool { return path.Ext(name) == ".log" }

func (f fuse) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f fuse) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, c) })
}

func (f fuse) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

// OpenDir opens a directory, whose sync is the log's, too.
func (f fuse) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return fusedFile{dir, f, true}, nil
}

func (f fuse) Remove(name string) error {
	return f.change(isLog(name), func() error { return f.FS.Remove(name) })
}

func (f fuse) Rename(old, name string) error {
	return f.change(false, func() error { return f.FS.Rename(old, name) })
}

func (f fuse) Link(old, name string) error {
	return f.change(false, func() error { return f.FS.Link(old, name) })
}

// Unwrap returns the file system within.
func (f fuse) Unwrap() vfs.FS { return f.FS }

type fusedFile struct {
	vfs.File
	f   fuse
	log bool // or a directory
}

func (f fusedFile) Write(p []byte) (n int, err error) {
	n = len(p)
	err = f.f.change(f.log, func() error {
		written, err := f.File.Write(p)
		if !f.log {
			n = written
		}
		return err
	})
	return n, err
}

func (f fusedFile) Preallocate(offset, length int64) error {
	return f.f.change(false, func() error { return f.File.Preallocate(offset, length) }) // it is no more than a hint
}

func (f fusedFile) Sync() error     { return f.f.change(f.log, f.File.Sync) }
func (f fusedFile) SyncData() error { return f.f.change(f.log, f.File.SyncData) }

func (f fusedFile) SyncTo(length int64) (full bool, err error) {
	err = f.f.change(f.log, func() error { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Close is no change.
func (f fusedFile) Close() error {
	if err := f.File.Close(); err != nil && !f.log {
		return err
	} else if err != nil {
		f.f.s.fail(err)
	}
	return nil
}

// noFile is a log that was never made.
type noFile struct{ vfs.File }

func (noFile) Close() error                { return nil }
func (noFile) Stat() (vfs.FileInfo, error) { return noInfo{}, nil }
func (noFile) Fd() uintptr                 { return vfs.InvalidFd }

type noInfo struct{ vfs.FileInfo }

func (noInfo) Size() int64 { return 0 }
