package dialect

import (
	"net"
	"net/netip"
)

// Host returns the peer's address without its port; of IPv6 the network, of which
// one host has all addresses.
func (c *Conn) Host() string { return c.host.Name() }

// Credit counts good records for the peer's host, or, where n is below zero, bad ones
// against it: see [lease.Host]. Any goroutine may call it.
func (c *Conn) Credit(n int) { c.host.Credit(n) }

// LeaveHost says that the connection has ended: its host is remembered for what it has given,
// or forgotten. It is called once for each connection, however that was closed.
func (c *Conn) LeaveHost() { c.host.Leave() }

// IP returns the peer's address, where it has one.
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

// UID returns the user of the peer on a Unix socket, or nil where there is none, or the
// system does not tell.
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
