//go:build unix

package dialect

import (
	"net"
	"syscall"
)

// writerNow returns a function that writes what a connection takes at once, or nil. One of
// another type may embed one of these and have a Write of its own.
func writerNow(nc net.Conn) func(p []byte) (int, error) {
	var s syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		s = nc
	case *net.UnixConn:
		s = nc
	default:
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	var (
		rest   []byte
		n      int
		failed error
	)
	write := func(fd uintptr) {
		for n, failed = syscall.Write(int(fd), rest); failed == syscall.EINTR; {
			n, failed = syscall.Write(int(fd), rest)
		}
	}
	return func(p []byte) (int, error) {
		rest, n = p, 0
		err := raw.Control(write)
		rest = nil
		switch {
		case err != nil:
			return 0, err
		case failed == syscall.EAGAIN:
			return 0, nil
		}
		return max(n, 0), failed
	}
}
