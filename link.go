package dictwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/wire"
)

// A backoff is the pauses between connections.
type backoff struct{ min, max, next time.Duration }

// pause returns how long the next pause is.
func (b *backoff) pause() time.Duration {
	d := max(b.next, b.min)
	b.next = min(2*d, b.max)
	return d/2 + rand.N(d/2+1)
}

// wait waits, and reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

var (
	errTurn = errors.New("dictwire: the next records need another session")
	errLoss = errors.New("dictwire: the server has less than it acknowledged, and that is accepted")
)

// A retryError says when to try again.
type retryError struct {
	after time.Duration
	err   error
}

// pause returns how long to wait: a little longer than the server says, and not
// all clients the same.
func (e *retryError) pause() time.Duration { return e.after + rand.N(e.after/4+1) }

func (e *retryError) Error() string { return e.err.Error() }

func (e *retryError) Unwrap() error { return e.err }

// run makes connections as long as there is something to send.
func (s *sender) run() {
	c := s.c
	again := backoff{min: c.d.MinBackoff, max: c.d.MaxBackoff}
	for s.busy() {
		before := s.progress()
		err := s.connect(c.ctx)
		if c.ctx.Err() != nil {
			break
		}
		progress := s.progress() > before
		if progress {
			again.next = 0
		}
		var (
			stopped *stopError
			later   *retryError
			remote  *remoteError
			pause   time.Duration
		)
		switch {
		case err == nil, errors.Is(err, errTurn), errors.Is(err, errLoss):
			continue
		case errors.As(err, &stopped):
			s.fail(stopped.err)
			continue
		case errors.As(err, &later):
			pause = later.pause()
		case errors.As(err, &remote) && progress && !remote.fault.Code.Retryable(): // behind a bad record
			c.logSession(slog.LevelWarn, "a record ended the session", "topic", s.topic, "error", err)
			continue
		default:
			pause = again.pause()
		}
		s.mu.Lock()
		first := s.trouble == nil
		s.trouble = err
		s.mu.Unlock()
		if first {
			c.session(err)
			c.logSession(slog.LevelWarn, "no session for now", "topic", s.topic, "error", err)
		}
		if !wait(c.ctx, pause) {
			break
		}
	}
}

// busy reports whether there is something to send. If not, run ends.
func (s *sender) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = s.err == nil && s.known > s.acked+1
	return s.running
}

func (s *sender) progress() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// A link is one connection of a sender.
type link struct {
	s      *sender
	conn   net.Conn
	in     *wire.Reader
	codec  codec.Codec // of the session
	window uint64      // of the server

	holds   *chunk         // guarded by s.mu: whose bytes are being written
	feedErr error          // guarded by s.mu: why the spool can't be read
	gap     *SpoolGapError // guarded by s.mu: where it can't be read any more
	turning bool           // guarded by s.mu: the session ends when all that was sent is settled
	acked   uint64         // guarded by s.mu: settled, and its rejections are told
	sum     uint32         // guarded by s.mu: of record acked; 0 where it is not known

	failed   atomic.Bool   // writing has failed
	writeErr error         // why; read when the writer has ended
	done     chan struct{} // closed when reading has ended
	settled  chan struct{} // holds one when the spool is to be told
	active   time.Time     // when something was settled
}

// lingering is how long the server's last words are waited for when writing
// has failed.
const lingering = time.Second

// Read reads from the connection, and ends where nothing comes for too long.
func (l *link) Read(p []byte) (int, error) {
	_ = l.conn.SetReadDeadline(time.Now().Add(wire.BeatWithin))
	if l.failed.Load() {
		_ = l.conn.SetReadDeadline(time.Now().Add(lingering))
	}
	return l.conn.Read(p)
}

// connect makes one connection and uses it to its end. It returns nil where
// nothing is left to be done.
func (s *sender) connect(ctx context.Context) error {
	conn, err := s.c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	l := &link{s: s, conn: conn, done: make(chan struct{}), settled: make(chan struct{}, 1), active: time.Now()}
	l.in = wire.NewReader(l)
	at, err := l.greet(ctx)
	if err != nil {
		return l.explain(err)
	}
	var working sync.WaitGroup
	work, cancel := context.WithCancel(ctx)
	err = l.resume(work, at, &working)
	if err == nil {
		s.c.session(nil)
		working.Go(l.write)
		err = l.read()
	}
	cancel()
	close(l.done)
	_ = conn.Close()
	working.Wait()
	s.mu.Lock()
	if l.holds != nil {
		l.holds.release()
	}
	if l.feedErr != nil {
		err = l.feedErr
	}
	s.idle = false
	s.mu.Unlock()
	return l.explain(err)
}

// explain makes the error of a link of what reading ended with.
func (l *link) explain(err error) error {
	var bad *wire.MessageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad):
		return stop("%w: %w (%v)", ErrProtocol, bad, l.s)
	case errors.As(err, new(*stopError)), errors.As(err, new(*remoteError)), errors.Is(err, errTurn), errors.Is(err, errLoss):
		return err
	case l.writeErr != nil:
		err = l.writeErr
	case err == io.EOF:
		return errors.New("dictwire: the server closed the connection")
	case isTimeout(err):
		return fmt.Errorf("dictwire: nothing came from the server for %v", wire.BeatWithin)
	}
	return fmt.Errorf("dictwire: the connection broke: %w", address.Cause(err))
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// A resumption is where a session begins.
type resumption struct {
	wire.Welcome
	first uint64 // the oldest record that is held
	known uint64 // behind the last
}

// greet greets the server, and returns its answer.
func (l *link) greet(ctx context.Context) (at resumption, err error) {
	s := l.s
	attempt, err := s.c.attempt(ctx)
	if err != nil {
		return at, fmt.Errorf("dictwire: spool: %w", err)
	}
	if at.first, at.known, err = s.spooled(ctx); err != nil {
		return at, err
	}
	s.mu.Lock()
	if len(s.chunks) > 0 {
		s.format = s.chunks[0].codec
	}
	l.codec = s.format
	at.first, at.known = max(at.first, s.acked+1, s.beyond), max(at.known, s.known)
	g := wire.Greeting{
		Version: wire.Version, Topic: s.topic, Producer: s.c.producer, Format: l.codec.Name(), Token: s.c.d.Token,
		Attempt: attempt, Acked: s.acked, First: at.first, AcceptLost: s.goOn,
	}
	s.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(connectTimeout))
	if _, err := l.conn.Write(g.Append(nil)); err != nil {
		l.failed.Store(true) // it may say why
		l.writeErr = err
	}
	_ = l.conn.SetWriteDeadline(time.Time{})
	m, err := l.in.Message()
	if err != nil {
		return at, err
	}
	switch m := m.(type) {
	case wire.Welcome:
		if l.writeErr != nil {
			return at, l.writeErr
		}
		at.Welcome = m
		return at, nil
	case wire.Error:
		return at, l.ended(m.Fault, false)
	default:
		return at, stop("%w: want its greeting, got %T (%v)", ErrProtocol, m, s)
	}
}

// ended makes the error of what the server ended the session by.
func (l *link) ended(f *fault.Error, greeted bool) error {
	s := l.s
	if f.Code == fault.Lost && s.c.d.AcceptLost {
		s.mu.Lock()
		again, acked := s.goOn, s.acked
		s.goOn = true
		s.mu.Unlock()
		if !again {
			s.c.log(slog.LevelError, "the server has less than it acknowledged; what is lost is accepted",
				"topic", s.topic, "producer", s.c.producer, "acked", acked, "next", f.Next)
			return errLoss
		}
	}
	err := ended(f, s.String(), greeted)
	if f.Retry > 0 && !errors.As(err, new(*stopError)) {
		return &retryError{f.Retry, err}
	}
	return err
}

// resume goes on where the server says, unless that is not this log.
func (l *link) resume(ctx context.Context, at resumption, working *sync.WaitGroup) error {
	s := l.s
	if l.window = at.Window; l.window == 0 {
		l.window = wire.Window
	}
	if at.Next == 0 {
		return stop("%w: the next number is 0 (%v)", ErrProtocol, s)
	}
	last := at.Next - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	spool := s.c.d.Spool != nil
	switch {
	case last < s.acked:
		return stop("%w (%v; it wants number %d, and %d was settled)", ErrLost, s, at.Next, s.acked)
	case last >= at.known, !spool && last >= max(s.handed, at.first):
		return stop("%w (%v; it wants number %d, and %d is the next)", ErrConflict, s, at.Next, at.known)
	}
	compare := last > s.acked && last >= at.first
	if spool {
		from := at.Next
		if compare {
			from = last
		}
		s.dropChunks()
		s.next = from
		s.sent = at.Next
		fed := make(chan struct{})
		working.Go(func() { l.feed(ctx, from, fed) })
		working.Go(func() { l.tell(ctx) })
		if compare {
			s.mu.Unlock()
			select {
			case <-fed:
			case <-ctx.Done():
			}
			s.mu.Lock()
		}
	}
	s.sent = at.Next
	sum, known := s.sum, s.sumKnown && last == s.acked && at.Of == 0
	if compare {
		sum, known = s.sumOf(last, at.Of)
	}
	if want, err := strconv.ParseUint(at.Sum, 16, 32); at.Sum != "" && known && (err != nil || uint32(want) != sum) {
		return stop("%w (%v; record %d has the sum %08x here, %s there)", ErrConflict, s, last, sum, at.Sum)
	}
	s.trouble, s.goOn = nil, false
	return nil
}

// sumOf returns the sum of a record of chunks, or of its first bytes where of is
// not 0 and it has as many. The caller holds mu.
func (s *sender) sumOf(number, of uint64) (uint32, bool) {
	for _, ch := range s.chunks {
		if number < ch.first || number >= ch.next() {
			continue
		}
		record := ch.record(int(number - ch.first))
		if of > uint64(len(record)) {
			return 0, false
		}
		if of > 0 {
			record = record[:of]
		}
		return dialect.SumOf(record).CRC, true
	}
	return 0, false
}

// read reads what the server says.
func (l *link) read() error {
	s := l.s
	for {
		m, err := l.in.Message()
		if err != nil {
			if l.turned() {
				return errTurn
			}
			return err
		}
		switch m := m.(type) {
		case wire.Ack:
			if err = s.settle(m.Number); err == nil {
				err = l.after()
			}
		case wire.Rejected:
			err = s.rejected(m)
		case wire.Reply:
			err = l.reply(m)
		case wire.Error:
			err = l.ended(m.Fault, true)
		default:
			err = stop("%w: a %T to one who sends (%v)", ErrProtocol, m, s)
		}
		switch {
		case errors.Is(err, errIdle):
			return nil
		case err != nil:
			return err
		}
	}
}

var errIdle = errors.New("dictwire: nothing to send for a while")

// after says whether the session goes on behind an ack.
func (l *link) after() error {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	l.acked, l.sum = s.acked, 0
	if s.sumKnown {
		l.sum = s.sum
	}
	select {
	case l.settled <- struct{}{}:
	default:
	}
	now := time.Now()
	switch {
	case l.gap != nil && s.acked+1 >= l.gap.From:
		return s.pass(l.gap)
	case s.acked+1 < s.sent:
		l.active = now
	case l.turning:
		return errTurn
	case s.known > s.sent:
		l.active = now
	case now.Sub(l.active) >= s.c.d.IdleTimeout:
		return errIdle
	}
	return nil
}

// turned reports whether the session ends because another format comes.
func (l *link) turned() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.turning && l.s.acked+1 == l.s.sent
}

// reply reads a reply. One beyond the limits says nothing against the session.
func (l *link) reply(m wire.Reply) error {
	s := l.s
	if !s.wants(m.Number) {
		return l.in.Skip(m.Length)
	}
	if m.Code != "" {
		return s.replied(m.Number, outcome{err: &remoteError{&fault.Error{Code: m.Code, Text: m.Text, At: -1}}})
	}
	if most := s.c.d.Limits.Effective().RecordBytes; m.Length > uint64(most) {
		if err := l.in.Skip(m.Length); err != nil {
			return err
		}
		return s.replied(m.Number, outcome{err: replyError(m.Number, &codec.SyntaxError{
			Codec: l.codec.Name(), Code: fault.TooLarge, Offset: most,
			Msg: fmt.Sprintf("a reply of %d bytes, want at most %d", m.Length, most),
		})})
	}
	b, err := l.in.Append(nil, m.Length)
	if err != nil {
		return err
	}
	d, err := l.codec.Decode(b, s.c.d.Limits)
	var bad *codec.SyntaxError
	switch {
	case errors.As(err, &bad) && (bad.Code == fault.TooLarge || bad.Code == fault.TooDeep || bad.Code == fault.OverLimit):
		return s.replied(m.Number, outcome{err: replyError(m.Number, bad)})
	case err != nil:
		return stop("%w: the reply to record %d: %w (%v)", ErrProtocol, m.Number, err, s)
	}
	return s.replied(m.Number, outcome{reply: d})
}

func replyError(number uint64, err error) error {
	return fmt.Errorf("dictwire: the reply to record %d, which is settled: %w", number, err)
}

// write writes what there is to be sent, and waits for more.
func (l *link) write() {
	s := l.s
	for {
		s.mu.Lock()
		data, format := s.take(l)
		switch {
		case format != nil:
			s.format, l.turning = format, true
			now := s.acked+1 == s.sent
			s.mu.Unlock()
			if now {
				_ = l.conn.Close()
			}
			return
		case data == nil:
			s.idle = true
			s.mu.Unlock()
			select {
			case <-s.wake:
				continue
			case <-l.done:
				return
			}
		}
		s.mu.Unlock()
		if _, err := l.conn.Write(data); err != nil {
			l.writeErr = err
			l.failed.Store(true)
			_ = l.conn.SetReadDeadline(time.Now().Add(lingering))
			return
		}
	}
}
