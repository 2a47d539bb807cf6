package option

import "time"

// The default limits of a server.
const (
	Conns        = 10_000
	HostConns    = 5_000
	Memory       = 256 << 20
	RecordRate   = 20_000_000 // more than one machine can store
	ByteRate     = 4 << 30    // more than one machine can store
	FirstTime    = 5 * time.Minute
	OpenTime     = 10 * time.Second
	IdleTime     = time.Hour
	RecordTime   = time.Minute
	WriteTime    = 10 * time.Second
	HandlerTime  = time.Minute
	HandlerTries = 10
)
