package log

import (
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// private is the operating system's file system, with files and directories that only
// their owner can access, whatever the umask.
type private struct{ vfs.FS }

// MkdirAll implements [vfs.FS].
func (p private) MkdirAll(dir string, perm os.FileMode) error {
	return p.FS.MkdirAll(dir, perm&0o700)
}

// Create implements [vfs.FS].
func (p private) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, c)
	return narrow(f, name, err)
}

// OpenReadWrite implements [vfs.FS].
func (p private) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name, c, o...)
	return narrow(f, name, err)
}

// narrow takes a new file away from everyone but its owner.
func narrow(f vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Lock implements [vfs.FS]. It also narrows the other files of the directory, since a
// backup may have been restored with other modes.
func (p private) Lock(name string) (io.Closer, error) {
	l, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	dir := p.PathDir(name)
	names, err := p.List(dir)
	for _, name := range names {
		path := p.PathJoin(dir, name)
		if info, e := os.Lstat(path); e == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			err = errors.Join(err, os.Chmod(path, 0o600))
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Unwrap implements [vfs.FS].
func (p private) Unwrap() vfs.FS { return p.FS }

// syncDir makes the entries of a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncFile makes a file durable, which it creates if there is none.
func syncFile(fs vfs.FS, name string) error {
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeDir makes a directory and its parents, durably.
func makeDir(fs vfs.FS, dir string) error {
	var parents []string // that were made
	for at := dir; ; at = fs.PathDir(at) {
		if _, err := fs.Stat(at); err == nil || at == fs.PathDir(at) {
			break
		}
		parents = append(parents, fs.PathDir(at))
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range parents {
		if err := syncDir(fs, parent); err != nil {
			return err
		}
	}
	return nil
}
