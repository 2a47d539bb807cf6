//go:build darwin || freebsd

package dialect

import "golang.org/x/sys/unix"

// peerUID returns the user of the peer of a socket.
func peerUID(fd int) *uint32 {
	c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return nil
	}
	return &c.Uid
}
