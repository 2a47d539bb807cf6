//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// sameOwner gives a file to the owner of another, where that is somebody else.
func sameOwner(f *os.File, info fs.FileInfo) error {
	was, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if is, ok := now.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return nil
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}

// syncDir makes what was renamed in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // of the caller's file
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
