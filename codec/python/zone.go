package python

import (
	"encoding/binary"
	"time"

	"github.com/dictwire/dictwire/dict"
)

// A zoneCache keeps zones with names, which few programs have many of, so that
// reading one again allocates nothing.
type zoneCache struct {
	zones map[string]dict.Zone
	key   []byte
	bytes int // of memory, about
}

// get returns the zone of a name: with an offset, or in the time zone database.
func (c *zoneCache) get(fixed bool, offset time.Duration, name []byte) dict.Zone {
	c.key = append(c.key[:0], 0)
	if fixed {
		c.key = binary.BigEndian.AppendUint64(append(c.key[:0], 1), uint64(offset))
	}
	c.key = append(c.key, name...)
	if z, ok := c.zones[string(c.key)]; ok {
		return z
	}
	z := dict.KeyZone(string(name))
	if fixed {
		z = dict.NamedFixedZone(offset, string(name))
	}
	const most = 16 << 10
	if cost := 2*len(name) + 100; c.bytes+cost <= most {
		if c.zones == nil {
			c.zones = make(map[string]dict.Zone)
		}
		c.zones[string(c.key)] = z
		c.bytes += cost
	}
	return z
}
