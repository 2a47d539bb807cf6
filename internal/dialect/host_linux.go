package dialect

import "syscall"

// peerUID returns the user of the peer of a socket.
func peerUID(fd int) *uint32 {
	c, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return nil
	}
	return &c.Uid
}
