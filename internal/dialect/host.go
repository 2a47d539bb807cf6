package dialect

import (
	"net"
	"net/netip"
)

// Host returns the peer's address without its port; of IPv6 the network, of which
// one host has all addresses.
func (c *Conn) Host() string { return c.host }

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
