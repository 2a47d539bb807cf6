package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/wire"
)

// A resumption is the state of a log when a session begins.
type resumption struct {
	wire.Welcome
	first uint64 // the oldest record that the client has
	known uint64 // the number after the last one
}

// greet greets the server, and returns its answer.
func (sess *session) greet(ctx context.Context) (at resumption, v verdict) {
	g, at, err := sess.greeting(ctx)
	if err != nil {
		return at, check(err)
	}
	_ = sess.conn.SetWriteDeadline(time.Now().Add(connectTimeout))
	if _, err := sess.conn.Write(g.Append(nil)); err != nil {
		sess.failed.Store(true) // the server may still say why
		sess.writeErr = err
	}
	_ = sess.conn.SetWriteDeadline(time.Time{})
	m, err := sess.in.Message()
	if err != nil {
		return at, check(err)
	}
	switch m := m.(type) {
	case wire.Welcome:
		at.Welcome = m
		return at, check(sess.writeErr)
	case wire.Error:
		return at, sess.endedBy(m.Fault, false)
	default:
		return at, check(stop("%w: want its greeting, got %T (%v)", ErrProtocol, m, sess.s))
	}
}

// greeting returns the greeting, and the state of the log.
func (sess *session) greeting(ctx context.Context) (g wire.Greeting, at resumption, err error) {
	s := sess.s
	attempt, err := s.c.attempt(ctx)
	if err != nil {
		return g, at, fmt.Errorf("dictwire: spool: %w", err)
	}
	if at.first, at.known, err = s.inSpool(ctx); err != nil {
		return g, at, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) > 0 {
		s.format = s.segments[0].codec
	}
	sess.codec = s.format
	at.first, at.known = max(at.first, s.acked+1, s.beyond), max(at.known, s.known)
	g = wire.Greeting{
		Version: wire.Version, Topic: s.topic, Producer: s.c.producer, Format: sess.codec.Name(), Token: s.c.o.Token,
		Attempt: attempt, Acked: s.acked, First: at.first, AcceptLost: s.goOn,
	}
	return g, at, nil
}

// endedBy handles the fault by which the server ended the session. If the server has lost
// records and AcceptLost is set, the next greeting accepts the loss.
func (sess *session) endedBy(f *fault.Error, greeted bool) verdict {
	s := sess.s
	if f.Code == fault.Lost && s.c.o.AcceptLost {
		s.mu.Lock()
		again, acked := s.goOn, s.acked
		s.goOn = true
		s.mu.Unlock()
		if !again {
			s.c.log(slog.LevelError, "the server has less than it acknowledged; what is lost is accepted",
				"topic", s.topic, "producer", s.c.producer, "acked", acked, "next", f.Next)
			return over
		}
	}
	err := ended(f, s.String(), greeted)
	if f.Retry > 0 && !errors.As(err, new(*stopError)) {
		err = &retryError{f.Retry, err}
	}
	return check(err)
}

// resume continues the log at the number that the server names. It returns an error if the
// server has another log.
func (sess *session) resume(ctx context.Context, at resumption, working *sync.WaitGroup) verdict {
	s := sess.s
	if sess.window = at.Window; sess.window == 0 {
		sess.window = wire.Window
	}
	if at.Next == 0 {
		return check(stop("%w: the next number is 0 (%v)", ErrProtocol, s))
	}
	last := at.Next - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.cut.over {
		return sess.cut
	}
	spools := s.c.o.Spool != nil
	switch {
	case last < s.acked:
		return check(stop("%w (%v; it wants number %d, and %d was settled)", ErrLost, s, at.Next, s.acked))
	case last >= at.known, !spools && last >= max(s.handed, at.first):
		return check(stop("%w (%v; it wants number %d, and %d is the next)", ErrConflict, s, at.Next, at.known))
	}
	compare := last > s.acked && last >= at.first
	if spools {
		sess.readSpool(ctx, at.Next, compare, working)
	}
	s.sent = at.Next
	sum, known := s.sum, s.sumKnown && last == s.acked && at.Of == 0
	if record, held := s.record(last); compare && held && at.Sum != "" {
		if at.Of > uint64(len(record)) { // a record is exactly one dictionary, so the server reads no further than its end
			return check(stop("%w (%v; record %d has %d bytes here, and more than that there)", ErrConflict, s, last, len(record)))
		}
		sum, known = sumOf(record, at.Of), true
	}
	if want, err := strconv.ParseUint(at.Sum, 16, 32); at.Sum != "" && known && (err != nil || uint32(want) != sum) {
		return check(stop("%w (%v; record %d has the sum %08x here, %s there)", ErrConflict, s, last, sum, at.Sum))
	}
	s.trouble, s.goOn, sess.resumed = nil, false, true
	return proceed
}

// readSpool starts reading the spool into segments from number next on, and writing to it what
// is settled. If compare is set, it begins one record earlier and returns when that record has
// been read. The caller holds s.mu, which is released meanwhile.
func (sess *session) readSpool(ctx context.Context, next uint64, compare bool, working *sync.WaitGroup) {
	s := sess.s
	from := next
	if compare {
		from--
	}
	s.dropSegments()
	s.next = from
	s.sent = next
	begun := make(chan struct{})
	working.Go(func() { sess.feed(ctx, from, begun) })
	working.Go(func() { sess.tell(ctx) })
	if !compare {
		return
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-begun:
	case <-ctx.Done():
	}
}

// sumOf returns the checksum of a record, or of its first bytes if of is not 0.
func sumOf(record []byte, of uint64) uint32 {
	if of > 0 {
		record = record[:of]
	}
	return dialect.SumOf(record).CRC
}
