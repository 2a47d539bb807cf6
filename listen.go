package dictwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Listen listens on addr, which is one of
//
//	host:port   TCP; host may be empty for all interfaces, port 0 for a free one
//	unix:PATH   a Unix socket; one that a dead server left behind is replaced
//	fd:N        a listening socket that this process was given as descriptor N
//
// The empty addr is [DefaultAddr].
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var (
		l   net.Listener
		err error
	)
	switch network, where := splitAddr(addr); network {
	case "fd":
		l, err = listenFD(where)
	case "unix":
		l, err = listenUnix(ctx, where)
	default:
		l, err = new(net.ListenConfig).Listen(ctx, network, where)
	}
	if err != nil {
		return nil, fmt.Errorf("dictwire: can't listen on %s: %w", addr, reason(err))
	}
	return l, nil
}

// splitAddr tells what kind of address addr is: tcp, unix or fd.
func splitAddr(addr string) (network, where string) {
	if addr == "" {
		addr = DefaultAddr
	}
	for _, network := range []string{"unix", "fd"} {
		if where, ok := strings.CutPrefix(addr, network+":"); ok {
			return network, where
		}
	}
	return "tcp", addr
}

func listenFD(number string) (net.Listener, error) {
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%q is no descriptor number", number)
	}
	f := os.NewFile(uintptr(n), "fd:"+number)
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is not open", n)
	}
	defer f.Close()
	l, err := net.FileListener(f) // a duplicate
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not a listening socket: %w", n, reason(err))
	}
	return l, nil
}

// maxUnixPath is how long the path of a Unix socket may be.
const maxUnixPath = len(syscall.RawSockaddrUnix{}.Path) - 1

func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if path == "" { // the system would make up a name
		return nil, errors.New("unix: wants the path of a socket behind it")
	}
	if len(path) > maxUnixPath {
		return nil, fmt.Errorf("the path of a Unix socket has at most %d bytes, and this one has %d", maxUnixPath, len(path))
	}
	lc := new(net.ListenConfig)
	l, err := lc.Listen(ctx, "unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	// Somebody listens, or a socket file was left behind, or it is another file.
	if info, statErr := os.Lstat(path); statErr != nil {
		return nil, err
	} else if info.Mode().Type() != os.ModeSocket {
		return nil, errors.New("the file is there, and is no socket")
	}
	c, dialErr := new(net.Dialer).DialContext(ctx, "unix", path)
	if dialErr == nil {
		_ = c.Close()
		return nil, err
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return lc.Listen(ctx, "unix", path)
}

// reason strips what package net puts around the cause of an error, which
// repeats the address.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}
