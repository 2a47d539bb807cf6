package client

import (
	"slices"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/wire"
)

// A Rejection says that a record was rejected: it is settled, in _rejected.
type Rejection struct {
	Topic  string
	Number uint64
	Code   fault.Code
	Reason string // a word of the application, or ""
	Text   string
	Record []byte // nil if the client no longer holds it
}

// rejected handles the rejection of a record.
func (s *sender) rejected(m wire.Rejected) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Number == 0 || m.Number >= s.sent {
		return stop("%w: record %d is rejected, %d were sent (%v)", ErrProtocol, m.Number, s.sent-1, s)
	}
	if m.Number <= s.acked {
		return nil // reported before
	}
	r := Rejection{Topic: s.topic, Number: m.Number, Code: m.Code, Reason: m.Reason, Text: m.Text}
	if record, ok := s.record(m.Number); ok {
		r.Record = slices.Clone(record)
	}
	s.rejections++
	s.outcomes[m.Number] = outcome{err: s.c.o.Rejected(r), rejected: true}
	return nil
}
