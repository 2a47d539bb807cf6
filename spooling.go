package dictwire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// maxSpooling is how many bytes are spooled at once, roughly.
const maxSpooling = 1 << 20

// drain begins to send what the spool holds.
func (c *Client) drain(ctx context.Context) error {
	topics, err := c.d.Spool.Topics(ctx)
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

// Spooled tells the client that its spool holds a topic's records up to the one
// before next, where not the client but others put them there: see package relay.
func (c *Client) Spooled(topic string, next uint64) error {
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

// spooled returns the oldest record that the spool holds of the topic, and the
// number behind the last; zero where there is no spool, or nothing in it.
func (s *sender) spooled(ctx context.Context) (first, next uint64, err error) {
	if s.c.d.Spool == nil {
		return 0, 0, nil
	}
	topics, err := s.c.d.Spool.Topics(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("dictwire: spool: %w", err)
	}
	i := slices.IndexFunc(topics, func(t SpoolTopic) bool { return t.Topic == s.topic })
	if i < 0 {
		return 0, 0, nil
	}
	return topics[i].First, topics[i].Next, nil
}

// spool puts what is pending into the spool, until nothing is.
func (s *sender) spool() {
	var records [][]byte
	for {
		s.mu.Lock()
		n, size := 0, 0
		for n < len(s.pending) && size < maxSpooling && (n == 0 || size+len(s.pending[n].data) <= s.c.atOnce) &&
			s.pending[n].codec.Name() == s.pending[0].codec.Name() {
			size += len(s.pending[n].data)
			n++
		}
		s.taken = append(s.taken[:0], s.pending[:n]...)
		s.pending = slices.Delete(s.pending, 0, n)
		s.mu.Unlock()
		if n == 0 && s.rest() {
			return
		}
		if n == 0 {
			continue
		}
		records = records[:0]
		for _, ch := range s.taken {
			for i := range ch.ends {
				records = append(records, ch.record(i))
			}
		}
		first, err := s.c.d.Spool.Append(s.c.append, s.topic, s.taken[0].codec.Name(), records...)
		clear(records)
		s.reporting.Lock()
		s.mu.Lock()
		flushed := s.numbered(first, err)
		s.c.window.leave(len(records), size)
		s.held.add(-len(records), -size)
		r := s.deliver()
		r.flushed = append(flushed, r.flushed...)
		s.mu.Unlock()
		s.report(r)
		s.reporting.Unlock()
	}
}

// rest ends spool where nothing is pending.
func (s *sender) rest() bool {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	s.mu.Lock()
	if len(s.pending) > 0 {
		s.mu.Unlock()
		return false
	}
	s.appending = false
	r := s.deliver()
	s.mu.Unlock()
	s.report(r)
	return true
}

// numbered takes note of the numbers that the records of taken got, or why they
// are not in the spool. It returns the flushes that have waited for that. The
// caller holds mu.
func (s *sender) numbered(first uint64, err error) (flushed []*waiter) {
	if err != nil {
		err = fmt.Errorf("dictwire: spool: %w", err)
	}
	silent := 0 // records that are not in the spool and nobody waits for
	for _, ch := range s.taken {
		silent += len(ch.ends)
		for _, at := range ch.waiters {
			w := at.w
			w.number = first + uint64(at.index)
			if err != nil {
				w.number = s.known - 1 // a flush waits for what is there; err is among the failures
			}
			switch {
			case w.gone:
			case w.flush && s.c.d.AtSpool:
				flushed = append(flushed, w)
			case errors.Is(err, ErrSpoolFull) && !w.flush:
				silent--
				w.end(outcome{err: notSentError{err}})
			case err != nil && !w.flush: // what the spool has of it is not known
				silent--
				w.end(outcome{err: err})
			case s.c.d.AtSpool:
				w.end(outcome{})
			case s.err != nil:
				w.end(outcome{err: s.err})
			default:
				s.waiters = append(s.waiters, w)
			}
		}
		first += uint64(len(ch.ends))
		ch.free()
	}
	s.taken = s.taken[:0]
	switch {
	case err == nil:
		s.known = max(s.known, first)
		s.notify()
	case silent > 0:
		s.c.lost.Add(int64(silent))
		s.c.failed(fmt.Errorf("dictwire: %s of topic %s lost: %w", countOf(int64(silent), "record"), s.topic, err))
	}
	return flushed
}

// feed reads the spool into chunks, from a number on. It closes fed when it has
// read the first record, or none.
func (l *link) feed(ctx context.Context, from uint64, fed chan struct{}) {
	s := l.s
	var once sync.Once
	defer once.Do(func() { close(fed) })
	err := func() error {
		for b, err := range s.c.d.Spool.Read(ctx, s.topic, from) {
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
				n, size := 0, 0
				for n < len(rest) && int64(n) < s.c.flight.maxRecords && n < chunkItems && size < fullChunk {
					size += len(rest[n]) + len(cd.Terminator())
					n++
				}
				if err := s.c.flight.enter(ctx, n); err != nil {
					return err
				}
				s.c.flight.grow(size)
				s.mu.Lock()
				var ch *chunk
				if last := len(s.chunks) - 1; last >= 0 && s.chunks[last].takes(cd) {
					ch = s.chunks[last]
				} else {
					ch = newChunk(s.next, cd)
					s.chunks = append(s.chunks, ch)
				}
				for _, r := range rest[:n] {
					ch.data = append(ch.data, r...)
					ch.seal()
				}
				s.next += uint64(n)
				s.flying.add(n, size)
				s.notify()
				s.mu.Unlock()
				rest = rest[n:]
				from += uint64(n)
				once.Do(func() { close(fed) })
			}
		}
		return errors.New("its reader has ended")
	}()
	if ctx.Err() != nil {
		return
	}
	s.c.log(slog.LevelError, "the spool can't be read", "topic", s.topic, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.As(err, &l.gap) {
		if s.acked+1 < l.gap.From {
			return // what is before it is settled first
		}
		l.feedErr = s.pass(l.gap)
	} else {
		l.feedErr = fmt.Errorf("dictwire: spool: %w", err)
	}
	_ = l.conn.Close()
}

// pass goes on behind records that the spool can't give back, where that is
// accepted. It returns why the session ends. The caller holds mu.
func (s *sender) pass(gap *SpoolGapError) error {
	from := max(gap.From, s.acked+1)
	if from >= gap.To {
		return errTurn // all of them are settled: another session goes on behind them
	}
	err := fmt.Errorf("%w (%v): %w", ErrDamaged, s, &SpoolGapError{From: from, To: gap.To, Err: gap.Err})
	if !s.c.d.AcceptLost {
		return stop("%w; accept the loss to go on without them", err)
	}
	s.goOn, s.beyond = true, gap.To
	s.waiters = slices.DeleteFunc(s.waiters, func(w *waiter) bool {
		damaged := !w.flush && from <= w.number && w.number < gap.To
		if damaged && !w.gone {
			w.end(outcome{err: err})
		}
		return damaged
	})
	s.c.lost.Add(int64(gap.To - from))
	s.c.failed(err)
	return errLoss
}

// tell tells the spool what is settled, until the link ends.
func (l *link) tell(ctx context.Context) {
	s := l.s
	told := uint64(0)
	for ended := false; !ended; {
		select {
		case <-l.settled:
		case <-l.done:
			ended = true
		}
		s.mu.Lock()
		acked, sum := l.acked, l.sum
		s.mu.Unlock()
		if acked == told || acked == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spoolTimeout)
		err := s.c.d.Spool.Settle(ctx, s.topic, acked, sum)
		cancel()
		if err != nil {
			s.c.log(slog.LevelError, "the spool can't be told what is settled", "topic", s.topic, "error", err)
		}
		told = acked
	}
}
