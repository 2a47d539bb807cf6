//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// lockDir waits until no other process has locked a directory, and locks it until unlock
// is called or the process ends.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir) //nolint:gosec // of the caller's file
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// othersWrite reports whether everybody may write to a file.
func othersWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o002 != 0 }
