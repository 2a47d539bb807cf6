package dialect

import (
	"net"
	"net/netip"
)

// Host returns the peer's address without its port. For IPv6 it is the network whose
// addresses all belong to one host.
func (c *Conn) Host() string { return c.host.Name() }

// Credit counts n good records in favour of the peer's host or, if n is negative, −n bad
// ones against it: see [lease.Host]. Any goroutine may call it.
func (c *Conn) Credit(n int) { c.host.Credit(n) }

// LeaveHost says that the connection has ended, however it was closed. It is called once
// for each connection. The host is remembered if it has earned credit.
func (c *Conn) LeaveHost() { c.host.Leave() }

// IP returns the peer's address, if it has one.
func (c *Conn) IP() (netip.Addr, bool) {
	p, err := netip.ParseAddrPort(c.nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}, false
	}
	return p.Addr().Unmap().WithZone(""), true
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return host
}

// UID returns the user of the peer on a Unix socket, or nil if it is not known.
func (c *Conn) UID() *uint32 {
	unix, ok := c.nc.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return nil
	}
	var uid *uint32
	if err := raw.Control(func(fd uintptr) { uid = peerUID(int(fd)) }); err != nil {
		return nil
	}
	return uid
}
