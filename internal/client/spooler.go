package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/spool"
)

// maxSpooling is roughly the size of one append to the spool, in bytes.
const maxSpooling = 1 << 20

// drain begins to send what the spool holds already.
func (c *Client) drain(ctx context.Context) error {
	topics, err := c.o.Spool.Topics(ctx)
	if err != nil {
		return fmt.Errorf("dictwire: spool: %w", err)
	}
	for _, t := range topics {
		c.spooled[t.Topic] = t
	}
	for _, t := range topics {
		if t.Next <= t.Acked+1 {
			continue
		}
		s, err := c.sender(t.Topic)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.notify()
		s.mu.Unlock()
	}
	return nil
}

// inSpool handles that others than the client have added records to the spool: next is the
// number after the topic's last one.
func (c *Client) inSpool(topic string, next uint64) error {
	s, err := c.sender(topic)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if next > s.known {
		s.known = next
		s.notify()
	}
	return nil
}

// inSpool returns the number of the topic's oldest record in the spool, and the number after the
// last. Both are 0 without a spool, or if it has none.
func (s *sender) inSpool(ctx context.Context) (first, next uint64, err error) {
	if s.c.o.Spool == nil {
		return 0, 0, nil
	}
	topics, err := s.c.o.Spool.Topics(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("dictwire: spool: %w", err)
	}
	i := slices.IndexFunc(topics, func(t spool.Topic) bool { return t.Topic == s.topic })
	if i < 0 {
		return 0, 0, nil
	}
	return topics[i].First, topics[i].Next, nil
}

// appendPending is append with a spool, which will number the record. The caller holds mu.
func (s *sender) appendPending(it item, w *waiter) (int, error) {
	seg, size, err := s.serialize(&s.pending, 0, it)
	if err != nil {
		return 0, err
	}
	if w != nil {
		seg.waiters = append(seg.waiters, waiting{len(seg.ends) - 1, w})
	}
	if !s.spooling {
		s.spooling = true
		s.c.appends.Go(s.spool)
	}
	return size, nil
}

// spool moves pending records to the spool until there are none.
func (s *sender) spool() {
	var records [][]byte
	for {
		size := s.takePending()
		if len(s.spooled) == 0 {
			if s.rest() {
				return
			}
			continue
		}
		records = records[:0]
		for _, seg := range s.spooled {
			for i := range seg.ends {
				records = append(records, seg.record(i))
			}
		}
		first, err := s.c.o.Spool.Append(s.c.append, s.topic, s.spooled[0].codec.Name(), records...)
		clear(records)
		s.reporting.Lock()
		s.mu.Lock()
		if err != nil {
			err = fmt.Errorf("dictwire: spool: %w", err)
			s.notSpooled(len(records), err)
		}
		s.c.window.leave(len(records), size) // before the waiters return
		s.held.add(-len(records), -size)
		flushed := s.numbered(first, err)
		r := s.deliver()
		r.flushed = append(flushed, r.flushed...)
		s.mu.Unlock()
		s.report(r)
		s.reporting.Unlock()
	}
}

// takePending moves the records of the next append from pending to spooled, and returns their
// size.
func (s *sender) takePending() (size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.pending) && size < maxSpooling && (n == 0 || size+len(s.pending[n].data) <= s.c.atOnce) &&
		s.pending[n].codec.Name() == s.pending[0].codec.Name() {
		size += len(s.pending[n].data)
		n++
	}
	s.spooled = append(s.spooled[:0], s.pending[:n]...)
	s.pending = slices.Delete(s.pending, 0, n)
	return size
}

// rest reports whether nothing is pending, so that spool ends.
func (s *sender) rest() bool {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	s.mu.Lock()
	if len(s.pending) > 0 {
		s.mu.Unlock()
		return false
	}
	s.spooling = false
	r := s.deliver()
	s.mu.Unlock()
	s.report(r)
	return true
}

// notSpooled handles a failed append of the records in spooled. The caller holds mu.
func (s *sender) notSpooled(records int, err error) {
	for _, seg := range s.spooled {
		for _, at := range seg.waiters {
			if !at.w.gone && !at.w.flush {
				records-- // its Send returns the error
			}
		}
	}
	if records > 0 {
		s.c.lost.Add(int64(records))
		s.c.failed(s.topic, fmt.Errorf("dictwire: %s of topic %s lost: %w", countOf(int64(records), "record"), s.topic, err))
	}
}

// numbered assigns numbers to the records in spooled after an append, or handles its error. It
// returns the flushes that waited for the append. The caller holds mu.
func (s *sender) numbered(first uint64, err error) (flushed []*waiter) {
	for _, seg := range s.spooled {
		for _, at := range seg.waiters {
			w := at.w
			w.number = first + uint64(at.index)
			if err != nil {
				w.number = s.known - 1 // a flush waits for the records before; err is among the failures
			}
			switch {
			case w.gone:
			case w.flush && s.c.o.AtSpool:
				flushed = append(flushed, w)
			case w.flush, err == nil && !s.c.o.AtSpool:
				s.await(w)
			default: // unless the spool is full, it may have the record or not
				w.end(outcome{err: notTaken(err)})
			}
		}
		first += uint64(len(seg.ends))
		seg.free()
	}
	s.spooled = s.spooled[:0]
	if err == nil {
		s.known = max(s.known, first)
		s.notify()
	}
	return flushed
}

// await makes w wait until its number is settled, unless the sender has stopped. The caller
// holds mu.
func (s *sender) await(w *waiter) {
	if s.err != nil {
		w.end(outcome{err: s.err})
		return
	}
	s.waiters = append(s.waiters, w)
}

// notTaken makes an ErrNotSent of an error that says that the record was not taken. nil stays nil.
func notTaken(err error) error {
	if errors.Is(err, spool.ErrFull) {
		return notSentError{err}
	}
	return err
}

// feed reads the spool into segments, from a number on, until the session ends or the spool
// can't be read. It closes begun after the first record, or if there is none.
func (sess *session) feed(ctx context.Context, from uint64, begun chan struct{}) {
	s := sess.s
	err := sess.readRecords(ctx, from, sync.OnceFunc(func() { close(begun) }))
	if ctx.Err() != nil {
		return
	}
	s.c.log(slog.LevelError, "the spool can't be read", "topic", s.topic, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.As(err, &sess.gap) {
		if s.acked+1 < sess.gap.From {
			return // the records before the gap are settled first
		}
		sess.cut = s.pass(sess.gap)
	} else {
		sess.cut = check(fmt.Errorf("dictwire: spool: %w", err))
	}
	_ = sess.conn.Close()
}

// readRecords reads the spool to the end, and returns why it ended.
func (sess *session) readRecords(ctx context.Context, from uint64, begun func()) error {
	defer begun()
	s := sess.s
	for b, err := range s.c.o.Spool.Read(ctx, s.topic, from) {
		if err != nil {
			return err
		}
		cd := s.c.codecs[b.Format]
		switch {
		case cd == nil:
			return fmt.Errorf("the native session has no format %s", b.Format)
		case b.First != from:
			return fmt.Errorf("want record %d, got %d", from, b.First)
		}
		for rest := b.Records; len(rest) > 0; {
			n, err := s.addSpooled(ctx, cd, rest)
			if err != nil {
				return err
			}
			rest = rest[n:]
			from += uint64(n)
			begun()
		}
	}
	return errors.New("its reader has ended")
}

// addSpooled adds records from the spool to the segments, as many as fit into one, when the
// window has room.
func (s *sender) addSpooled(ctx context.Context, cd codec.Codec, records [][]byte) (n int, err error) {
	size := 0
	for n < len(records) && int64(n) < s.c.flight.maxRecords && n < maxSegmentRecords && size < fullSegment {
		size += len(records[n]) + len(cd.Terminator())
		n++
	}
	if err := s.c.flight.enter(ctx, n); err != nil {
		return 0, err
	}
	s.c.flight.grow(size)
	s.mu.Lock()
	defer s.mu.Unlock()
	var seg *segment
	if last := len(s.segments) - 1; last >= 0 && s.segments[last].takes(cd) {
		seg = s.segments[last]
	} else {
		seg = newSegment(s.next, cd)
		s.segments = append(s.segments, seg)
	}
	for _, r := range records[:n] {
		seg.data = append(seg.data, r...)
		seg.seal()
	}
	s.next += uint64(n)
	s.flying.add(n, size)
	s.notify()
	return n, nil
}

// pass handles records that the spool can't read: it ends the session and, with AcceptLost, the
// next one continues after them. The caller holds mu.
func (s *sender) pass(gap *spool.GapError) verdict {
	from := max(gap.From, s.acked+1)
	if from >= gap.To {
		return over // all of them are settled
	}
	err := fmt.Errorf("%w (%v): %w", spool.ErrDamaged, s, &spool.GapError{From: from, To: gap.To, Err: gap.Err})
	if !s.c.o.AcceptLost {
		return check(stop("%w; accept the loss to go on without them", err))
	}
	s.goOn, s.beyond = true, gap.To
	s.c.lost.Add(int64(gap.To - from))
	s.c.failed(s.topic, err)
	s.waiters = slices.DeleteFunc(s.waiters, func(w *waiter) bool {
		damaged := !w.flush && from <= w.number && w.number < gap.To
		if damaged {
			w.end(outcome{err: err})
		}
		return damaged
	})
	return over
}

// tell reports settled records to the spool until the session ends.
func (sess *session) tell(ctx context.Context) {
	s := sess.s
	told := uint64(0)
	for ended := false; !ended; {
		select {
		case <-sess.settled:
		case <-sess.done:
			ended = true
		}
		s.mu.Lock()
		acked, sum := sess.acked, sess.sum
		s.mu.Unlock()
		if acked == told || acked == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spoolTimeout)
		err := s.c.o.Spool.Settle(ctx, s.topic, acked, sum)
		cancel()
		if err != nil {
			s.c.log(slog.LevelError, "the spool can't be told what is settled", "topic", s.topic, "error", err)
		}
		told = acked
	}
}
