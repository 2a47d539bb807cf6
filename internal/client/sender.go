package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/spool"
)

// A sender is a topic's log as far as the client holds it, and who waits for
// what.
//
//	settled        written             to be written
//	────────┬──────────────────────┬───────────────────────┬──────
//	      acked                  sent                    next        numbers
//	        └─ segments ─────────────────────────────────────┘
//
// Without a spool, segments hold all that is not settled. With one they hold what
// the connection has read from it, and what is to be spooled is pending.
type sender struct {
	c     *Client
	topic string
	wake  chan struct{} // holds one when the writer is to look again

	reporting sync.Mutex // held while callbacks are called; before mu

	mu                                       sync.Mutex
	err                                      error              // why nothing more is sent
	told                                     bool               // a Flush has returned err
	session                                  *session           // that writes, or nil
	expiry                                   *time.Timer        // calls expire; nil where nothing waits
	trouble                                  error              // why there is no session now
	running                                  bool               // run runs
	idle                                     bool               // the writer waits for wake
	segments                                 []*segment         // from the oldest on; none is empty
	next                                     uint64             // after the last record of segments
	sent                                     uint64             // after the last that the connection was given
	handed                                   uint64             // the highest sent of all connections of this client
	acked                                    uint64             // settled
	sum                                      uint32             // of record acked
	sumKnown                                 bool               // sum is known
	format                                   codec.Codec        // of the next session
	goOn                                     bool               // the next greeting accepts the loss
	beyond                                   uint64             // no record below it is left in the spool, whatever that says
	waiters                                  []*waiter          // by number
	telling                                  bool               // of outcomes that were delivered, not all are told
	outcomes                                 map[uint64]outcome // of records above what was delivered
	settledRecords, settledBytes, rejections int64

	held place // in Client.window

	// With a spool:
	pending  []*segment // records without a number
	spooled  []*segment // those that are being spooled
	spooling bool       // spool runs
	known    uint64     // after the last number that the spool has given
	flying   place      // in Client.flight
}

// A place is what records take of a window.
type place struct{ records, bytes int }

func (p *place) add(records, bytes int) {
	p.records += records
	p.bytes += bytes
}

// take takes out all.
func (p *place) take() place {
	q := *p
	*p = place{}
	return q
}

func newSender(c *Client, topic string, at spool.Topic) *sender {
	next := max(at.Next, at.Acked+1)
	return &sender{
		c: c, topic: topic, wake: make(chan struct{}, 1), format: c.o.Codec, outcomes: make(map[uint64]outcome),
		next: next, sent: next, handed: next, known: next,
		acked: at.Acked, sum: at.Sum, sumKnown: at.Sum != 0,
	}
}

// String says whose log it is.
func (s *sender) String() string { return fmt.Sprintf("producer %s, topic %s", s.c.producer, s.topic) }

// send takes a record. w, where it is not nil, waits for it.
func (s *sender) send(ctx context.Context, v any, w *waiter) error {
	it, err := s.c.item(v)
	if err != nil {
		return err
	}
	if err := s.c.window.enter(ctx, 1); err != nil {
		if errors.Is(err, ErrClosed) {
			return err
		}
		return s.interrupted(err, "not sent")
	}
	return s.add(it, w)
}

// interrupted makes the error of a call whose context ended. fate says what that
// means for the record.
func (s *sender) interrupted(err error, fate string) error {
	s.mu.Lock()
	trouble := s.trouble
	s.mu.Unlock()
	if trouble != nil {
		return fmt.Errorf("dictwire: send to topic %s: %s: %w (%w)", s.topic, fate, err, trouble)
	}
	return fmt.Errorf("dictwire: send to topic %s: %s: %w", s.topic, fate, err)
}

// giveUp ends the waiting of w, whose record is in the log. What has been said to
// w meanwhile counts: nobody else is told.
func (s *sender) giveUp(ctx context.Context, w *waiter) (*dict.Dict, error) {
	if s.leave(w) {
		return w.reply, w.err
	}
	return nil, s.interrupted(context.Cause(ctx), "not settled yet")
}

// leave makes w wait no more. It reports whether its waiting has ended before.
func (s *sender) leave(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.done:
		return true
	default:
	}
	w.gone = true
	i, _ := slices.BinarySearchFunc(s.waiters, w.number, func(w *waiter, n uint64) int { return cmp.Compare(w.number, n) })
	for ; i < len(s.waiters) && s.waiters[i].number == w.number; i++ {
		if s.waiters[i] == w {
			s.waiters = slices.Delete(s.waiters, i, i+1)
			break
		}
	}
	if !w.flush {
		return false
	}
	for _, log := range [][]*segment{s.spooled, s.pending} { // of records, the window bounds them
		for _, seg := range log {
			seg.waiters = slices.DeleteFunc(seg.waiters, func(other waiting) bool { return other.w == w })
		}
	}
	return false
}

// trySend is send of an item without a waiter, where the window is not full. It
// reports whether it has tried.
func (s *sender) trySend(it item) (bool, error) {
	if !s.c.window.tryEnter() {
		return false, nil
	}
	return true, s.add(it, nil)
}

// add puts a record, which has a place in the window, into the log.
func (s *sender) add(it item, w *waiter) error {
	added := false
	defer func() {
		if !added { // it, or its codec has panicked
			s.c.window.leave(1, 0)
		}
	}()
	size, err := s.append(it, w)
	if err != nil {
		return err
	}
	added = true
	s.c.window.grow(size)
	return nil
}

// append is add without the window. It returns the bytes that the record takes.
func (s *sender) append(it item, w *waiter) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.c.o.Spool != nil {
		return s.appendPending(it, w)
	}
	seg, size, err := s.serialize(&s.segments, s.next, it)
	if err != nil {
		return 0, err
	}
	if w != nil {
		w.number = seg.next() - 1
		s.waiters = append(s.waiters, w)
	}
	s.next++
	s.known = s.next
	s.age(seg)
	s.notify()
	return size, nil
}

// serialize appends a record to the last segment of a log, or to a new one that
// begins with number first. It returns the segment, and the bytes that the record
// takes in it. The caller holds mu.
func (s *sender) serialize(log *[]*segment, first uint64, it item) (*segment, int, error) {
	var seg *segment
	if n := len(*log); n > 0 && (*log)[n-1].takes(it.codec) && !s.expiresBefore((*log)[n-1]) {
		seg = (*log)[n-1]
	} else {
		seg = newSegment(first, it.codec)
	}
	from := len(seg.data)
	data, err := it.append(seg.data)
	if err == nil && len(seg.ends) > 0 && len(data)+len(seg.term) > s.c.atOnce {
		seg = newSegment(first, it.codec) // the spool takes it, but not with the others
		data, from = append(seg.data, data[from:]...), 0
	}
	if most := s.c.o.Limits.Effective().RecordBytes; err == nil && len(data)-from > most {
		err = &codec.SyntaxError{
			Codec: it.codec.Name(), Code: fault.TooLarge, Offset: most,
			Msg: fmt.Sprintf("a record of %d bytes, want at most %d", len(data)-from, most),
		}
	}
	if err != nil {
		if len(seg.ends) == 0 {
			seg.free()
		}
		return nil, 0, err
	}
	seg.data = data
	seg.seal()
	size := len(seg.data) - from
	if len(seg.ends) == 1 {
		*log = append(*log, seg)
	}
	s.held.add(1, size)
	return seg, size, nil
}

// notify makes what is new be written. The caller holds mu.
func (s *sender) notify() {
	if !s.running && s.err == nil {
		s.running = true
		s.c.running.Go(s.run)
	}
	if s.idle {
		s.idle = false
		select {
		case s.wake <- struct{}{}:
		default: // left by a connection that has ended
		}
	}
}

// whyStopped is why nothing more is sent, for a Flush: one of them is told, so that
// this topic does not fail those that follow, unless the client is closed or a
// spool holds records that wait. The caller holds mu.
func (s *sender) whyStopped() error {
	if s.told && s.err != ErrClosed && s.c.o.Spool == nil {
		return nil
	}
	s.told = true
	return s.err
}

// flush makes w wait until all is settled that was sent before. It reports
// whether there is anything to wait for.
func (s *sender) flush(w *waiter) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false, s.whyStopped()
	}
	w.number = s.known - 1
	var last *segment // with records that have no number yet
	switch {
	case len(s.pending) > 0:
		last = s.pending[len(s.pending)-1]
	case len(s.spooled) > 0:
		last = s.spooled[len(s.spooled)-1]
	case s.c.o.AtSpool, s.acked >= w.number && !s.telling:
		return false, nil
	default:
		s.waiters = append(s.waiters, w)
		return true, nil
	}
	last.waiters = append(last.waiters, waiting{len(last.ends) - 1, w})
	return true, nil
}

// fail ends the sender because of err.
func (s *sender) fail(err error) {
	s.mu.Lock()
	again := s.err != nil
	if !again {
		s.lose()
		s.stop(err)
	}
	s.mu.Unlock()
	if !again {
		s.c.logSession(slog.LevelError, "nothing more is sent to this topic", "topic", s.topic, "producer", s.c.producer, "error", err)
	}
}

// lose counts as lost what is held and no spool has. The caller holds mu.
func (s *sender) lose() {
	if s.c.o.Spool != nil {
		return
	}
	lost := s.held.take()
	s.c.lost.Add(int64(lost.records)) // first: Pending never misses them
	s.c.window.leave(lost.records, lost.bytes)
}

// stop makes err the answer to all who wait. The caller holds mu.
func (s *sender) stop(err error) {
	s.err = err
	for _, w := range s.waiters {
		s.told = s.told || w.flush
		w.end(outcome{err: err})
	}
	s.waiters = nil
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.dropSegments()
}

// dropSegments forgets all records of segments. The caller holds mu.
func (s *sender) dropSegments() {
	for _, seg := range s.segments {
		seg.drop()
	}
	s.segments = nil
	p := s.flying.take()
	s.c.flight.leave(p.records, p.bytes)
}

// close ends the sender with its client.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.lose()
	s.stop(ErrClosed)
}

// take returns what a connection writes next: records in a row, in its format.
// It sets format where only another session can go on. The caller holds mu.
func (s *sender) take(sess *session) (data []byte, format codec.Codec) {
	if sess.holds != nil {
		sess.holds.release()
		sess.holds = nil
	}
	if s.sent >= s.next || s.err != nil || sess.cut.over {
		return nil, nil
	}
	room := int64(sess.window) - int64(s.sent-s.acked-1)
	if room <= 0 {
		return nil, nil
	}
	i, _ := slices.BinarySearchFunc(s.segments, s.sent, func(seg *segment, n uint64) int {
		if seg.next() <= n {
			return -1
		}
		return 1
	})
	seg := s.segments[i]
	if seg.codec.Name() != sess.codec.Name() {
		return nil, seg.codec
	}
	from := int(s.sent - seg.first)
	to := int(min(int64(len(seg.ends)), int64(from)+room))
	seg.busy, sess.holds = true, seg
	s.sent = seg.first + uint64(to)
	s.handed = max(s.handed, s.sent)
	return seg.data[seg.end(from):seg.end(to)], nil
}

// settle takes note that all records up to n are settled.
func (s *sender) settle(n uint64) error {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	s.mu.Lock()
	switch {
	case n >= s.sent:
		sent := s.sent
		s.mu.Unlock()
		return stop("%w: record %d is acknowledged, %d were sent (%v)", ErrProtocol, n, sent-1, s)
	case n <= s.acked || s.err != nil:
		s.mu.Unlock()
		return nil
	}
	freed := s.dropSettled(n)
	s.settledRecords += int64(freed.records)
	s.settledBytes += int64(freed.bytes)
	window := &s.c.window
	if s.c.o.Spool != nil {
		window = &s.c.flight
		s.flying.add(-freed.records, -freed.bytes)
	} else {
		s.held.add(-freed.records, -freed.bytes)
	}
	if s.idle && s.sent < s.next { // the server's window was full
		s.notify()
	}
	window.leave(freed.records, freed.bytes) // first: who is told sees it
	r := s.deliver()
	s.mu.Unlock()
	s.report(r)
	return nil
}

// dropSettled drops the records up to n from segments, and returns the room that
// they took. The caller holds mu.
func (s *sender) dropSettled(n uint64) (freed place) {
	s.acked, s.sumKnown = n, false
	drop := 0
	for _, seg := range s.segments {
		if seg.first > n {
			break
		}
		upTo := int(min(uint64(len(seg.ends)), n+1-seg.first))
		freed.add(upTo-seg.settled, seg.end(upTo)-seg.end(seg.settled))
		seg.settled = upTo
		if n == seg.first+uint64(upTo)-1 {
			s.sum, s.sumKnown = seg.sum(upTo-1), true
		}
		if upTo < len(seg.ends) {
			break
		}
		drop++
	}
	for _, seg := range s.segments[:drop] {
		seg.drop()
	}
	s.segments = slices.Delete(s.segments, 0, drop)
	return freed
}

// record returns a record of segments. The caller holds mu.
func (s *sender) record(number uint64) ([]byte, bool) {
	for _, seg := range s.segments {
		if number >= seg.first && number < seg.next() {
			return seg.record(int(number - seg.first)), true
		}
	}
	return nil, false
}
