package option

import "time"

// The limits of a server where its options say nothing.
const (
	Conns        = 10_000
	HostConns    = 5_000
	Memory       = 256 << 20
	RecordRate   = 20_000_000 // more than one machine stores
	ByteRate     = 4 << 30    // likewise
	FirstTime    = 5 * time.Minute
	OpenTime     = 10 * time.Second
	IdleTime     = time.Hour
	RecordTime   = time.Minute
	WriteTime    = 10 * time.Second
	HandlerTime  = time.Minute
	HandlerTries = 10
)
