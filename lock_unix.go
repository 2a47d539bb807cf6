//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package dictwire

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lockDir waits until no other process has locked a directory, and locks it. That
// leaves nothing behind, unlike a file to be locked. Where the directory can't be
// locked, as on some network file systems or while somebody else holds on to it,
// nothing is.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir) //nolint:gosec // where the caller listens
	if errors.Is(err, os.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	const patience = 5 * time.Second
	for pause, until := time.Millisecond, time.Now().Add(patience); ; pause = min(2*pause, 100*time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || time.Now().After(until) {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		}
	}
}
