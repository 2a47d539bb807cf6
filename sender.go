package dictwire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/wire"
)

// A sender is a topic's log as far as the client holds it, and who waits for
// what.
//
//	settled        written             to be written
//	────────┬──────────────────────┬───────────────────────┬──────
//	      acked                  sent                    next        numbers
//	        └─ chunks ─────────────────────────────────────┘
//
// Without a spool, chunks hold all that is not settled. With one they hold what
// the connection has read from it, and what is to be spooled is pending.
type sender struct {
	c     *Client
	topic string
	wake  chan struct{} // holds one when the writer is to look again

	reporting sync.Mutex // held while callbacks are called; before mu

	mu       sync.Mutex
	err      error              // why nothing more is sent
	trouble  error              // why there is no session now
	running  bool               // run runs
	idle     bool               // the writer waits for wake
	chunks   []*chunk           // from the oldest on; none is empty
	next     uint64             // behind the last record of chunks
	sent     uint64             // behind the last that the connection was given
	handed   uint64             // the highest sent of all connections of this client
	acked    uint64             // settled
	sum      uint32             // of record acked
	sumKnown bool               // sum is known
	format   codec.Codec        // of the next session
	goOn     bool               // the next greeting accepts the loss
	beyond   uint64             // no record below it is left in the spool, whatever that says
	waiters  []*waiter          // by number
	telling  bool               // of outcomes that were delivered, not all are told
	outcomes map[uint64]outcome // of records above what was delivered
	held     place              // in Client.window

	// With a spool:
	pending   []*chunk // records without a number
	taken     []*chunk // those that are being spooled
	appending bool     // spool runs
	known     uint64   // behind the last number that the spool has given
	flying    place    // in Client.flight
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

func newSender(c *Client, topic string, at SpoolTopic) *sender {
	next := max(at.Next, at.Acked+1)
	return &sender{
		c: c, topic: topic, wake: make(chan struct{}, 1), format: c.d.Codec, outcomes: make(map[uint64]outcome),
		next: next, sent: next, handed: next, known: next,
		acked: at.Acked, sum: at.Sum, sumKnown: at.Sum != 0,
	}
}

// String says whose log it is.
func (s *sender) String() string { return fmt.Sprintf("producer %s, topic %s", s.c.producer, s.topic) }

// item makes an item of what a caller sends.
func (c *Client) item(v any) (item, error) {
	r, isRecord := v.(Record)
	if p, ok := v.(*Record); ok && p != nil {
		r, isRecord = *p, true
	}
	if !isRecord {
		d, err := dict.From(v)
		return item{codec: c.d.Codec, dict: d}, err
	}
	if r.Codec == nil {
		r.Codec = c.d.Codec
	}
	checker := c.checkers[r.Codec.Name()]
	if checker == nil {
		return item{}, fmt.Errorf("dictwire: the native session has no format %s", r.Codec.Name())
	}
	record, err := checker.check(r.Bytes)
	return item{codec: r.Codec, bytes: record}, err
}

// send takes a record. w, where it is not nil, waits for it.
func (s *sender) send(ctx context.Context, v any, w *waiter) error {
	it, err := s.c.item(v)
	if err != nil {
		return err
	}
	if err := s.c.window.enter(ctx, 1); err != nil {
		if errors.Is(err, ErrClientClosed) {
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
	for _, log := range [][]*chunk{s.taken, s.pending} { // of records, the window bounds them
		for _, ch := range log {
			ch.waiters = slices.DeleteFunc(ch.waiters, func(other waiting) bool { return other.w == w })
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
	log, first := &s.chunks, s.next
	if s.c.d.Spool != nil {
		log, first = &s.pending, 0
	}
	var ch *chunk
	if n := len(*log); n > 0 && (*log)[n-1].takes(it.codec) {
		ch = (*log)[n-1]
	} else {
		ch = newChunk(first, it.codec)
	}
	from := len(ch.data)
	data, err := it.append(ch.data)
	if err == nil && len(ch.ends) > 0 && len(data)+len(ch.term) > s.c.atOnce {
		ch = newChunk(first, it.codec) // the spool takes it, but not with the others
		data, from = append(ch.data, data[from:]...), 0
	}
	if most := s.c.d.Limits.Effective().RecordBytes; err == nil && len(data)-from > most {
		err = &codec.SyntaxError{
			Codec: it.codec.Name(), Code: fault.TooLarge, Offset: most,
			Msg: fmt.Sprintf("a record of %d bytes, want at most %d", len(data)-from, most),
		}
	}
	if err != nil {
		if len(ch.ends) == 0 {
			ch.free()
		}
		return 0, err
	}
	ch.data = data
	ch.seal()
	size := len(ch.data) - from
	if len(ch.ends) == 1 {
		*log = append(*log, ch)
	}
	s.held.add(1, size)
	if s.c.d.Spool != nil {
		if w != nil {
			ch.waiters = append(ch.waiters, waiting{len(ch.ends) - 1, w})
		}
		if !s.appending {
			s.appending = true
			s.c.appends.Go(s.spool)
		}
		return size, nil
	}
	if w != nil {
		w.number = s.next
		s.waiters = append(s.waiters, w)
	}
	s.next++
	s.known = s.next
	s.notify()
	return size, nil
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

// flush makes w wait until all is settled that was sent before. It reports
// whether there is anything to wait for.
func (s *sender) flush(w *waiter) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false, s.err
	}
	w.number = s.known - 1
	var last *chunk // with records that have no number yet
	switch {
	case len(s.pending) > 0:
		last = s.pending[len(s.pending)-1]
	case len(s.taken) > 0:
		last = s.taken[len(s.taken)-1]
	case s.c.d.AtSpool, s.acked >= w.number && !s.telling:
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
		if s.c.d.Spool == nil {
			lost := s.held.take()
			s.c.lost.Add(int64(lost.records)) // first: Pending never misses them
			s.c.window.leave(lost.records, lost.bytes)
		}
		s.stop(err)
	}
	s.mu.Unlock()
	if !again {
		s.c.logSession(slog.LevelError, "nothing more is sent to this topic", "topic", s.topic, "producer", s.c.producer, "error", err)
	}
}

// stop makes err the answer to all who wait. The caller holds mu.
func (s *sender) stop(err error) {
	s.err = err
	for _, w := range s.waiters {
		if !w.gone {
			w.end(outcome{err: err})
		}
	}
	s.waiters = nil
	s.dropChunks()
}

// dropChunks forgets all records of chunks. The caller holds mu.
func (s *sender) dropChunks() {
	for _, ch := range s.chunks {
		ch.drop()
	}
	s.chunks = nil
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
	if s.c.d.Spool == nil {
		s.c.lost.Add(int64(s.held.take().records))
	}
	s.stop(ErrClientClosed)
}

// take returns what a connection writes next: records in a row, in its format.
// It sets format where only another session can go on. The caller holds mu.
func (s *sender) take(l *link) (data []byte, format codec.Codec) {
	if l.holds != nil {
		l.holds.release()
		l.holds = nil
	}
	if s.sent >= s.next || s.err != nil {
		return nil, nil
	}
	room := int64(l.window) - int64(s.sent-s.acked-1)
	if room <= 0 {
		return nil, nil
	}
	i, _ := slices.BinarySearchFunc(s.chunks, s.sent, func(ch *chunk, n uint64) int {
		if ch.next() <= n {
			return -1
		}
		return 1
	})
	ch := s.chunks[i]
	if ch.codec.Name() != l.codec.Name() {
		return nil, ch.codec
	}
	from := int(s.sent - ch.first)
	to := int(min(int64(len(ch.ends)), int64(from)+room))
	ch.busy, l.holds = true, ch
	s.sent = ch.first + uint64(to)
	s.handed = max(s.handed, s.sent)
	return ch.data[ch.end(from):ch.end(to)], nil
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
	var freed place
	s.acked, s.sumKnown = n, false
	drop := 0
	for _, ch := range s.chunks {
		if ch.first > n {
			break
		}
		upTo := int(min(uint64(len(ch.ends)), n+1-ch.first))
		freed.add(upTo-ch.settled, ch.end(upTo)-ch.end(ch.settled))
		ch.settled = upTo
		if n == ch.first+uint64(upTo)-1 {
			s.sum, s.sumKnown = ch.sum(upTo-1), true
		}
		if upTo < len(ch.ends) {
			break
		}
		drop++
	}
	for _, ch := range s.chunks[:drop] {
		ch.drop()
	}
	s.chunks = slices.Delete(s.chunks, 0, drop)
	window := &s.c.window
	if s.c.d.Spool != nil {
		window = &s.c.flight
		s.flying.add(-freed.records, -freed.bytes)
	} else {
		s.held.add(-freed.records, -freed.bytes)
	}
	if s.idle && s.sent < s.next { // the server's window was full
		s.notify()
	}
	r := s.deliver()
	s.mu.Unlock()
	window.leave(freed.records, freed.bytes)
	s.report(r)
	return nil
}

// reports are what is to be told without mu.
type reports struct {
	outcomes []numbered // that no Send waits for
	flushed  []*waiter
}

type numbered struct {
	number uint64
	outcome
}

// deliver ends the waiting for what is settled. The caller holds mu.
func (s *sender) deliver() (r reports) {
	limit := s.acked
	if s.appending { // who waits for later ones is not known yet
		limit = min(limit, s.known-1)
	}
	n := 0
	for _, w := range s.waiters {
		if w.number > limit {
			break
		}
		n++
		switch {
		case w.flush:
			r.flushed = append(r.flushed, w)
		case !w.gone:
			o := s.outcomes[w.number]
			delete(s.outcomes, w.number)
			w.end(o)
		}
	}
	s.waiters = slices.Delete(s.waiters, 0, n)
	for number, o := range s.outcomes {
		if number <= limit {
			r.outcomes = append(r.outcomes, numbered{number, o})
			delete(s.outcomes, number)
		}
	}
	slices.SortFunc(r.outcomes, func(a, b numbered) int { return int(a.number) - int(b.number) })
	s.telling = len(r.outcomes) > 0
	return r
}

// report tells, and then lets the flushes go that came meanwhile. The caller
// holds reporting, and not mu.
func (s *sender) report(r reports) {
	for len(r.outcomes) > 0 || len(r.flushed) > 0 {
		for _, o := range r.outcomes {
			s.tell(o)
		}
		for _, w := range r.flushed {
			w.end(outcome{})
		}
		s.mu.Lock()
		r = s.deliver()
		s.mu.Unlock()
	}
}

// tell tells what no Send waits for.
func (s *sender) tell(o numbered) {
	rejected := (*RejectedError)(nil)
	switch isRejected := errors.As(o.err, &rejected); {
	case isRejected && s.c.d.OnRejected != nil:
		s.c.d.OnRejected(rejected)
	case o.err != nil:
		s.c.failed(o.err)
	case s.c.d.OnReply != nil:
		s.c.d.OnReply(s.topic, o.number, o.reply)
	}
}

// rejected takes note that a record was rejected.
func (s *sender) rejected(m wire.Rejected) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Number == 0 || m.Number >= s.sent {
		return stop("%w: record %d is rejected, %d were sent (%v)", ErrProtocol, m.Number, s.sent-1, s)
	}
	if m.Number <= s.acked {
		return nil // it has been told
	}
	e := &RejectedError{Topic: s.topic, Number: m.Number, Code: m.Code, Text: m.Text}
	for _, ch := range s.chunks {
		if m.Number >= ch.first && m.Number < ch.next() {
			e.Record = slices.Clone(ch.record(int(m.Number - ch.first)))
		}
	}
	s.outcomes[m.Number] = outcome{err: e}
	return nil
}

// wants reports whether somebody wants the reply to a record.
func (s *sender) wants(number uint64) bool {
	if s.c.d.OnReply != nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appending && number >= s.known {
		return true
	}
	i, ok := slices.BinarySearchFunc(s.waiters, number, func(w *waiter, n uint64) int {
		return int(w.number) - int(n)
	})
	return ok && !s.waiters[i].gone
}

// replied takes note of the reply to a record.
func (s *sender) replied(number uint64, o outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number <= s.acked || number >= s.sent {
		return stop("%w: a reply to record %d, where %d to %d are in flight (%v)", ErrProtocol, number, s.acked+1, s.sent-1, s)
	}
	s.outcomes[number] = o
	return nil
}
