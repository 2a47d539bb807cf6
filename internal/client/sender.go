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

// A sender is the part of a topic's log that the client holds, and the calls that wait for
// records of it.
//
//	settled        written             to be written
//	────────┬──────────────────────┬───────────────────────┬──────
//	      acked                  sent                    next        numbers
//	        └─ segments ─────────────────────────────────────┘
//
// Without a spool, segments hold all unsettled records. With one, segments hold those that
// the session has read from the spool, and pending those that are not in the spool yet.
type sender struct {
	c     *Client
	topic string
	wake  chan struct{} // holds one element when the writer must look again

	reporting sync.Mutex // held while callbacks run; locked before mu

	mu                                       sync.Mutex
	err                                      error              // final: nothing more is sent
	told                                     bool               // a Flush has returned err
	session                                  *session           // the current one, or nil
	expiry                                   *time.Timer        // calls expire; nil if no record waits
	trouble                                  error              // why there is no session at present
	running                                  bool               // the goroutine of run exists
	idle                                     bool               // the writer waits for wake
	segments                                 []*segment         // in order; none is empty
	next                                     uint64             // the number after the last record of segments
	sent                                     uint64             // the number after the last one written to the current connection
	handed                                   uint64             // the highest sent of all connections
	acked                                    uint64             // the last settled number
	sum                                      uint32             // checksum of record acked
	sumKnown                                 bool               // sum is known
	format                                   codec.Codec        // of the next session
	goOn                                     bool               // the next greeting accepts the loss
	beyond                                   uint64             // the spool has no records below it, whatever it says
	waiters                                  []*waiter          // by number
	telling                                  bool               // callbacks for delivered outcomes are not finished
	outcomes                                 map[uint64]outcome // of records that are not delivered yet
	settledRecords, settledBytes, rejections int64

	held place // in Client.window

	// With a spool:
	pending  []*segment // records without numbers, to be spooled
	spooled  []*segment // records that are being spooled
	spooling bool       // the goroutine of spool exists
	known    uint64     // the number after the last one that the spool assigned
	flying   place      // in Client.flight
}

// A place is how many records and bytes occupy a window.
type place struct{ records, bytes int }

func (p *place) add(records, bytes int) {
	p.records += records
	p.bytes += bytes
}

// take empties p and returns what it was.
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

// String names the log for error texts.
func (s *sender) String() string { return fmt.Sprintf("producer %s, topic %s", s.c.producer, s.topic) }

// send adds a record to the log when the window has room. If w is not nil, it waits for the
// record.
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

// interrupted returns the error of a call whose context ended. fate says what happens to
// the record.
func (s *sender) interrupted(err error, fate string) error {
	s.mu.Lock()
	trouble := s.trouble
	s.mu.Unlock()
	if trouble != nil {
		return fmt.Errorf("dictwire: send to topic %s: %s: %w (%w)", s.topic, fate, err, trouble)
	}
	return fmt.Errorf("dictwire: send to topic %s: %s: %w", s.topic, fate, err)
}

// giveUp ends the wait of w, whose record stays in the log. An outcome that w got meanwhile is
// returned, since nobody else gets it.
func (s *sender) giveUp(ctx context.Context, w *waiter) (*dict.Dict, error) {
	if s.leave(w) {
		return w.reply, w.err
	}
	return nil, s.interrupted(context.Cause(ctx), "not settled yet")
}

// leave removes w from the waiters. It reports whether w had its outcome already.
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
	for _, log := range [][]*segment{s.spooled, s.pending} { // bounded by the window
		for _, seg := range log {
			seg.waiters = slices.DeleteFunc(seg.waiters, func(other waiting) bool { return other.w == w })
		}
	}
	return false
}

// trySend is send without a waiter, and without waiting: it reports false if the window is
// full.
func (s *sender) trySend(it item) (bool, error) {
	if !s.c.window.tryEnter() {
		return false, nil
	}
	return true, s.add(it, nil)
}

// add adds a record that has its place in the window to the log.
func (s *sender) add(it item, w *waiter) error {
	added := false
	defer func() {
		if !added { // an error, or a panic of the codec
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

// append adds a record to the log, and returns its size in bytes.
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

// serialize appends a record to the last segment of a log, or to a new segment that begins with
// number first. It returns the segment, and the record's size in it in bytes. The caller holds
// mu.
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
		seg = newSegment(first, it.codec) // the spool accepts the record, but not together with the others
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

// notify wakes or starts the writer. The caller holds mu.
func (s *sender) notify() {
	if !s.running && s.err == nil {
		s.running = true
		s.c.running.Go(s.run)
	}
	if s.idle {
		s.idle = false
		select {
		case s.wake <- struct{}{}:
		default: // an element is left from an earlier connection
		}
	}
}

// whyStopped returns the final error for a Flush, or nil. Only the first Flush gets it, so that
// this topic does not fail later ones, unless the client is closed or a spool holds waiting
// records. The caller holds mu.
func (s *sender) whyStopped() error {
	if s.told && s.err != ErrClosed && s.c.o.Spool == nil {
		return nil
	}
	s.told = true
	return s.err
}

// flush makes w wait until all records that were sent before are settled. It reports false if
// there is nothing to wait for.
func (s *sender) flush(w *waiter) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false, s.whyStopped()
	}
	w.number = s.known - 1
	var last *segment // the last one whose records have no numbers yet
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

// fail ends the sender with a final error.
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

// lose counts the records that no spool has as lost. The caller holds mu.
func (s *sender) lose() {
	if s.c.o.Spool != nil {
		return
	}
	lost := s.held.take()
	s.c.lost.Add(int64(lost.records)) // first, so that Stats counts each record as pending or lost
	s.c.window.leave(lost.records, lost.bytes)
}

// stop ends all waiters with err. The caller holds mu.
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

// dropSegments removes all segments. The caller holds mu.
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

// take returns the records that a session writes next, in the session's format. If the next
// records have another format, it sets s.format for the next session. The caller holds mu.
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

// settle handles an ack of all records up to n.
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
	if s.idle && s.sent < s.next { // the writer waited for the server's window
		s.notify()
	}
	window.leave(freed.records, freed.bytes) // first, so that a caller who learns of it finds room
	r := s.deliver()
	s.mu.Unlock()
	s.report(r)
	return nil
}

// dropSettled removes the records up to n from segments, and returns the place that they
// occupied. The caller holds mu.
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

// record returns a record in segments by its number. The caller holds mu.
func (s *sender) record(number uint64) ([]byte, bool) {
	for _, seg := range s.segments {
		if number >= seg.first && number < seg.next() {
			return seg.record(int(number - seg.first)), true
		}
	}
	return nil, false
}
