package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/spool"
)

// A session is one connection of a sender.
type session struct {
	s      *sender
	conn   net.Conn
	in     *wire.Reader
	codec  codec.Codec // of the session
	window uint64      // of the server

	holds   *segment        // guarded by s.mu: being written
	cut     verdict         // guarded by s.mu: why the client ends it, if not because of the connection
	resumed bool            // guarded by s.mu: its position in the log is known
	gap     *spool.GapError // guarded by s.mu: records that the spool can't read
	turning bool            // guarded by s.mu: the session ends when all that was sent is settled
	acked   uint64          // guarded by s.mu: the last settled number whose rejections are reported
	sum     uint32          // guarded by s.mu: checksum of record acked, or 0 if unknown

	failed   atomic.Bool   // writing has failed
	writeErr error         // why; to be read after the writer has ended
	done     chan struct{} // closed when reading has ended
	settled  chan struct{} // holds one element when the spool must be updated
	active   time.Time     // of the last ack
}

// lingering is how long a session waits for the server's last messages after writing failed.
const lingering = time.Second

// Read reads from the connection, with a deadline.
func (sess *session) Read(p []byte) (int, error) {
	_ = sess.conn.SetReadDeadline(time.Now().Add(wire.BeatWithin))
	if sess.failed.Load() {
		_ = sess.conn.SetReadDeadline(time.Now().Add(lingering))
	}
	return sess.conn.Read(p)
}

// connect makes one session and runs it to its end. The error is nil if the session ended
// regularly.
func (s *sender) connect(ctx context.Context) error {
	conn, err := s.c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	sess := &session{s: s, conn: conn, done: make(chan struct{}), settled: make(chan struct{}, 1), active: time.Now()}
	sess.in = wire.NewReader(sess)
	s.mu.Lock()
	s.session = sess
	s.mu.Unlock()
	at, v := sess.greet(ctx)
	if v.over {
		return sess.ended(v.err)
	}
	var working sync.WaitGroup
	work, cancel := context.WithCancel(ctx)
	v = sess.resume(work, at, &working)
	if err = v.err; !v.over {
		s.c.open.Add(1)
		defer s.c.open.Add(-1)
		s.c.changed(State{Topics: []string{s.topic}})
		working.Go(sess.write)
		err = sess.read()
	}
	cancel()
	close(sess.done)
	_ = conn.Close()
	working.Wait()
	return sess.ended(err)
}

// ended detaches the session from its sender, and returns why it ended.
func (sess *session) ended(err error) error {
	s := sess.s
	s.mu.Lock()
	s.session = nil
	if sess.holds != nil {
		sess.holds.release()
	}
	if sess.cut.over {
		err = sess.cut.err
	}
	s.idle = false
	s.mu.Unlock()
	if err == nil {
		return nil
	}
	return broken(sess.writeErr, err, s)
}

// A verdict says whether a session continues.
type verdict struct {
	over bool
	err  error // if it is over: why, or nil if it ended regularly, so that the next may follow at once
}

var (
	proceed = verdict{}
	over    = verdict{over: true}
)

// check returns the verdict for an error or nil.
func check(err error) verdict { return verdict{err != nil, err} }

// read handles the server's messages to the end. The error is nil if the session ended
// regularly.
func (sess *session) read() error {
	for {
		m, err := sess.in.Message()
		switch {
		case err != nil && sess.turned():
			return nil
		case err != nil:
			return err
		}
		if v := sess.message(m); v.over {
			return v.err
		}
	}
}

// message handles a message of the server.
func (sess *session) message(m wire.Message) verdict {
	switch m := m.(type) {
	case wire.Ack:
		if err := sess.s.settle(m.Number); err != nil {
			return check(err)
		}
		return sess.settledSome()
	case wire.Rejected:
		return check(sess.s.rejected(m))
	case wire.Reply:
		return check(sess.reply(m))
	case wire.Error:
		return sess.endedBy(m.Fault, true)
	default:
		return check(stop("%w: a %T to one who sends (%v)", ErrProtocol, m, sess.s))
	}
}

// settledSome returns the verdict after an ack.
func (sess *session) settledSome() verdict {
	s := sess.s
	s.mu.Lock()
	defer s.mu.Unlock()
	sess.acked, sess.sum = s.acked, 0
	if s.sumKnown {
		sess.sum = s.sum
	}
	signal(sess.settled)
	now := time.Now()
	switch {
	case sess.gap != nil && s.acked+1 >= sess.gap.From:
		return s.pass(sess.gap)
	case s.acked+1 < s.sent:
		sess.active = now
	case sess.turning:
		return over
	case s.known > s.sent:
		sess.active = now
	case now.Sub(sess.active) >= s.c.o.IdleTimeout:
		return over
	}
	return proceed
}

// turned reports whether the session ends because the next records have another format.
func (sess *session) turned() bool {
	sess.s.mu.Lock()
	defer sess.s.mu.Unlock()
	return sess.turning && sess.s.acked+1 == sess.s.sent
}

// reply reads a reply. The session continues after a reply that is beyond the limits.
func (sess *session) reply(m wire.Reply) error {
	s := sess.s
	if !s.wants(m.Number) {
		return sess.in.Skip(m.Length)
	}
	if m.Code != "" {
		return s.replied(m.Number, outcome{err: &RemoteError{&fault.Error{Code: m.Code, Text: m.Text, At: -1}}})
	}
	if most := s.c.o.Limits.Effective().RecordBytes; m.Length > uint64(most) {
		if err := sess.in.Skip(m.Length); err != nil {
			return err
		}
		return s.replied(m.Number, outcome{err: replyError(m.Number, &codec.SyntaxError{
			Codec: sess.codec.Name(), Code: fault.TooLarge, Offset: most,
			Msg: fmt.Sprintf("a reply of %d bytes, want at most %d", m.Length, most),
		})})
	}
	b, err := sess.in.Append(nil, m.Length)
	if err != nil {
		return err
	}
	d, err := sess.codec.Decode(b, s.c.o.Limits)
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

// write writes records as they are added, until the session ends.
func (sess *session) write() {
	s := sess.s
	for {
		s.mu.Lock()
		data, format := s.take(sess)
		switch {
		case format != nil:
			s.format, sess.turning = format, true
			now := s.acked+1 == s.sent
			s.mu.Unlock()
			if now {
				_ = sess.conn.Close()
			}
			return
		case data == nil:
			s.idle = true
			s.mu.Unlock()
			select {
			case <-s.wake:
				continue
			case <-sess.done:
				return
			}
		}
		s.mu.Unlock()
		if _, err := sess.conn.Write(data); err != nil {
			sess.writeErr = err
			sess.failed.Store(true)
			_ = sess.conn.SetReadDeadline(time.Now().Add(lingering))
			return
		}
	}
}
