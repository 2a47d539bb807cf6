//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package address

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile makes a file and locks it, until unlock removes it or the process ends. Where
// another one holds the lock, the error is EADDRINUSE.
func lockFile(path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600) //nolint:gosec // beside the caller's socket
		if err != nil {
			return nil, err
		}
		if unlock, err := lock(f); unlock != nil || err != nil {
			return unlock, err
		}
		// Its holder removed it before we had the lock: a lock that nobody else sees.
	}
}

// lock locks an open file. It returns no unlock where the file is not the one at its
// path any more.
func lock(f *os.File) (unlock func(), err error) {
	defer func() {
		if unlock == nil {
			_ = f.Close()
		}
	}()
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, syscall.EADDRINUSE
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	ours, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !ours.Mode().IsRegular() || ours.Size() > 0 {
		return nil, fmt.Errorf("%s is there, and is no lock", f.Name())
	}
	if !atPath(f, ours) {
		return nil, nil
	}
	return func() {
		if atPath(f, ours) {
			_ = os.Remove(f.Name())
		}
		_ = f.Close()
	}, nil
}

// atPath reports whether a file is the one at its path.
func atPath(f *os.File, info os.FileInfo) bool {
	now, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(now, info)
}
