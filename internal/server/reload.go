package server

import (
	"cmp"

	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/option"
)

// Reload takes over the limits of another server that may change while this one serves:
// MaxConns, MaxHostConns, the rates, and the time-outs of connections, which hold for
// those that come from then on. Nothing is closed for it.
func (s *Server) Reload(from *Server) {
	s.setup()
	s.rates.set(from.MaxRecordRate, from.MaxByteRate)
	s.slots.set(cmp.Or(from.MaxConns, option.Conns), cmp.Or(from.MaxHostConns, option.HostConns))
	s.timed.Store(from.timeouts(s.rules))
}

// timeouts returns rules with the server's time-outs.
func (s *Server) timeouts(r dialect.Rules) *dialect.Rules {
	r.FirstTimeout = option.Timeout(s.FirstTimeout, option.FirstTime)
	r.OpenTimeout = option.Timeout(s.OpenTimeout, option.OpenTime)
	r.IdleTimeout = option.Timeout(s.IdleTimeout, option.IdleTime)
	r.RecordTimeout = option.Timeout(s.RecordTimeout, option.RecordTime)
	r.WriteTimeout = option.Timeout(s.WriteTimeout, option.WriteTime)
	return &r
}
