package client

import (
	"fmt"
	"slices"
	"time"
)

// Without a spool, records that wait for longer than MaxAge are given up: they leave the log
// as if they were settled, and the next greeting accepts that the server has less.

// expiresBefore reports whether a segment is so old that a new record must not share its
// expiry.
func (s *sender) expiresBefore(seg *segment) bool {
	return !seg.since.IsZero() && time.Since(seg.since) > s.c.o.MaxAge/16
}

// age sets the time of a segment's first record, if records expire. The caller holds mu.
func (s *sender) age(seg *segment) {
	if s.c.o.MaxAge <= 0 || !seg.since.IsZero() {
		return
	}
	seg.since = time.Now()
	if s.expiry == nil {
		s.expiry = time.AfterFunc(s.c.o.MaxAge, s.expire)
	}
}

// expire gives up the segments that have waited for MaxAge.
func (s *sender) expire() {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	s.mu.Lock()
	s.expiry = nil
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	n := 0
	for n < len(s.segments) && time.Since(s.segments[n].since) >= s.c.o.MaxAge {
		n++
	}
	if n > 0 {
		s.giveUpTo(s.segments[n-1].next())
	}
	if len(s.segments) > 0 {
		s.expiry = time.AfterFunc(s.c.o.MaxAge-time.Since(s.segments[0].since), s.expire)
	}
	r := s.deliver()
	s.mu.Unlock()
	s.report(r)
}

// giveUpTo gives up the records below a number. The caller holds mu.
func (s *sender) giveUpTo(next uint64) {
	err := fmt.Errorf("%w (%v, record %d to %d)", ErrExpired, s, s.acked+1, next-1)
	if s.trouble != nil {
		err = fmt.Errorf("%w: %w", err, s.trouble)
	}
	freed := s.dropSettled(next - 1)
	s.sumKnown = false
	s.held.add(-freed.records, -freed.bytes)
	s.goOn = true
	if s.session != nil && (s.sent < next || !s.session.resumed) { // a running session can't skip records
		s.session.cut = over
		_ = s.session.conn.Close()
	}
	s.c.lost.Add(int64(freed.records))
	s.c.window.leave(freed.records, freed.bytes)
	s.c.failed(s.topic, err)
	s.waiters = slices.DeleteFunc(s.waiters, func(w *waiter) bool {
		expired := !w.flush && w.number < next
		if expired {
			w.end(outcome{err: err})
		}
		return expired
	})
}
