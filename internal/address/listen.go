// Package address knows where a server listens and a client connects to.
package address

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Default is the address where none is given.
const Default = "127.0.0.1:65432"

// Listen listens on addr, which is one of
//
//	host:port   TCP; host may be empty for all interfaces, port 0 for a free one;
//	            0.0.0.0 means all of IPv4, and no IPv6; [::1]:65432 is an IPv6 address
//	unix:PATH   a Unix socket; one that a dead server left behind is replaced, and
//	            the file PATH.lock is locked for as long as a server listens;
//	            on Linux, unix:@NAME is an abstract one, which is no file
//	fd:N        a listening socket that this process was given as descriptor N
//
// The empty addr is [Default].
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var (
		l   net.Listener
		err error
	)
	if _, ok := strings.CutPrefix(addr, secure); ok {
		return nil, fmt.Errorf("dictwire: can't listen on %s: tls:// is for clients; a server has TLS by its certificate", addr)
	}
	switch network, where := splitAddr(addr); network {
	case "fd":
		l, err = listenFD(where)
	case "unix":
		l, err = listenUnix(ctx, where)
	default:
		l, err = listenTCP(ctx, where)
	}
	if err != nil {
		return nil, fmt.Errorf("dictwire: can't listen on %s: %w", addr, Cause(err))
	}
	return l, nil
}

// splitAddr returns the kind of address that addr is: tcp, unix or fd.
func splitAddr(addr string) (network, where string) {
	if addr == "" {
		addr = Default
	}
	for _, network := range []string{"unix", "fd"} {
		if where, ok := strings.CutPrefix(addr, network+":"); ok {
			return network, where
		}
	}
	return "tcp", addr
}

// secure begins an address that is to be reached with TLS.
const secure = "tls://"

// Dial returns where to connect for addr, and whether to use TLS.
func Dial(addr string) (network, where string, withTLS bool, err error) {
	addr, withTLS = strings.CutPrefix(addr, secure)
	network, where = splitAddr(addr)
	if network == "tcp" {
		err = checkTCP(where)
	}
	if err != nil {
		err = fmt.Errorf("dictwire: can't connect to %s: %w", where, err)
	}
	return network, where, withTLS, err
}

func listenTCP(ctx context.Context, addr string) (net.Listener, error) {
	if err := checkTCP(addr); err != nil {
		return nil, err
	}
	network := "tcp"
	// Package net takes 0.0.0.0 for [::], which is every address of both kinds.
	if host, _, err := net.SplitHostPort(addr); err == nil && isIP(host, netip.Addr.Is4) {
		network = "tcp4"
	}
	return new(net.ListenConfig).Listen(ctx, network, addr)
}

// checkTCP says how an IPv6 address is written, where addr is one without brackets.
func checkTCP(addr string) error {
	if i := strings.LastIndexByte(addr, ':'); i > 0 && isIP(addr[:i], netip.Addr.Is6) {
		return fmt.Errorf("an IPv6 address stands in brackets: [%s]:%s", addr[:i], addr[i+1:])
	}
	if isIP(strings.Trim(addr, "[]"), netip.Addr.Is6) {
		return fmt.Errorf("the port is missing: [%s]:65432", strings.Trim(addr, "[]"))
	}
	return nil
}

// isIP reports whether s is an address of a kind.
func isIP(s string, kind func(netip.Addr) bool) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && kind(ip)
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
		return nil, fmt.Errorf("descriptor %d is not a listening socket: %w", n, Cause(err))
	}
	return l, nil
}

// maxUnixPath is how long the path of a Unix socket may be.
const maxUnixPath = len(syscall.RawSockaddrUnix{}.Path) - 1

func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if path == "" { // the system would make up a name
		return nil, errors.New("unix: wants the path of a socket after it")
	}
	if len(path) > maxUnixPath {
		return nil, fmt.Errorf("the path of a Unix socket has at most %d bytes, and this one has %d", maxUnixPath, len(path))
	}
	if path[0] == '@' && runtime.GOOS == "linux" { // abstract: it ends with its process
		return new(net.ListenConfig).Listen(ctx, "unix", path)
	}
	// Who holds the lock is alone with the path until its listener is closed: a second
	// server neither takes its socket for a dead one's nor replaces it.
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	l, err := bindUnix(ctx, path)
	if err != nil {
		unlock()
		return nil, err
	}
	made, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		unlock()
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return &unixListener{UnixListener: l, path: path, made: made, unlock: unlock}, nil
}

// bindUnix makes a socket, in place of one that a dead server left behind.
func bindUnix(ctx context.Context, path string) (*net.UnixListener, error) {
	listen := func() (*net.UnixListener, error) {
		l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return l.(*net.UnixListener), nil
	}
	l, err := listen()
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	// Another program listens, or a socket file was left behind, or it is another file.
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
	if !errors.Is(dialErr, syscall.ECONNREFUSED) || boundUnix(path) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return listen()
}

// boundUnix reports whether another program has bound a socket to path and does not
// listen yet, as far as the system tells: Linux does, in /proc/net/unix.
func boundUnix(path string) bool {
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return false
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(sockets)) {
		// The path is as the program wrote it, perhaps relative to we don't know what.
		const flags, state, where = 3, 5, 7
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", where+1)
		if len(f) <= where || f[flags] != "00000000" || f[state] != "01" || filepath.Base(f[where]) != filepath.Base(path) {
			continue // not bound, or it listens or is connected, or elsewhere
		}
		if !filepath.IsAbs(f[where]) {
			return true
		}
		if other, err := os.Stat(filepath.Dir(f[where])); err == nil && os.SameFile(dir, other) {
			return true
		}
	}
	return false
}

// A unixListener removes its socket and its lock when it is closed, and no others that
// stand in their place.
type unixListener struct {
	*net.UnixListener

	path   string
	made   os.FileInfo
	unlock func()
	once   sync.Once
	err    error // of Close
}

func (l *unixListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
			_ = os.Remove(l.path)
		}
		l.err = l.UnixListener.Close()
		l.unlock()
	})
	return l.err
}

// Cause strips what package net puts around the cause of an error, which
// repeats the address.
func Cause(err error) error {
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
