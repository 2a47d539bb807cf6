package bench

import (
	"net"
	"slices"
)

// A Target is a kind of server to measure.
type Target struct {
	Name string
	Addr string // default address; "" means dictwire's

	format     string // of the records; "" means any
	acks, bare bool   // supports acknowledgements, supports sending without them
	whole      bool   // each send has one answer

	// open prepares a connection, given its index. The one with index 0 makes what the
	// others use.
	open func(nc net.Conn, o *Options, i int) (conn, error)
}

// Targets lists the targets.
var Targets = []Target{
	{Name: "dictwire", acks: true, bare: true, open: openNative},
	{Name: "http", acks: true, whole: true, open: openHTTP},
	{Name: "forward", format: "msgpack", acks: true, bare: true, whole: true, open: openForward},
	{Name: "redis", Addr: "127.0.0.1:6379", acks: true, open: openRedis},
	{Name: "nats", Addr: "127.0.0.1:4222", bare: true, open: openNATS},
	{Name: "jetstream", Addr: "127.0.0.1:4222", acks: true, open: openNATS},
	{Name: "postgres", Addr: "127.0.0.1:5432", format: "json", acks: true, whole: true, open: openPostgres},
	{Name: "postgres-copy", Addr: "127.0.0.1:5432", format: "json", acks: true, whole: true, open: openPostgres},
}

// TargetOf returns a target by name.
func TargetOf(name string) (Target, bool) {
	i := slices.IndexFunc(Targets, func(t Target) bool { return t.Name == name })
	if i < 0 {
		return Target{}, false
	}
	return Targets[i], true
}

// Format returns the default record format of a target.
func (t Target) Format() string {
	if t.format == "" {
		return "json"
	}
	return t.format
}
