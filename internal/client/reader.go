package client

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A beat is a connection whose reads time out while the server owes something: records, or
// the answer to a commit.
type beat struct {
	net.Conn
	s *Subscriber
}

func (b beat) Read(p []byte) (int, error) {
	b.s.mu.Lock()
	var deadline time.Time
	if !b.s.ended || len(b.s.commits) > 0 {
		deadline = time.Now().Add(wire.BeatWithin)
	}
	_ = b.SetReadDeadline(deadline) // under mu, so that a commit that is sent now sets its deadline after this one
	b.s.mu.Unlock()
	return b.Conn.Read(p)
}

// connect makes one connection and reads it to its end. heard reports whether the server
// accepted the greeting.
func (s *Subscriber) connect(ctx context.Context) (heard bool, err error) {
	conn, err := s.c.connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	in := wire.NewReader(beat{conn, s})
	_ = conn.SetWriteDeadline(time.Now().Add(connectTimeout))
	if _, err := conn.Write(s.greeting().Append(nil)); err != nil {
		return false, broken(err, nil, s)
	}
	m, err := in.Message()
	if err != nil {
		return false, broken(nil, err, s)
	}
	switch m := m.(type) {
	case wire.Ready:
		if err := s.begin(conn, m.Next); err != nil {
			return false, err
		}
	case wire.Error:
		return false, s.remote(m.Fault, false)
	default:
		return false, stop("%w: want its greeting, got %T", ErrProtocol, m)
	}
	defer s.between()
	s.c.open.Add(1)
	defer s.c.open.Add(-1)
	s.c.changed(State{Topics: s.req.Topics, Reads: true})
	return true, s.read(ctx, in)
}

// read handles messages until reading fails, and returns the error.
func (s *Subscriber) read(ctx context.Context, in *wire.Reader) error {
	for {
		m, err := in.Message()
		if err == nil {
			err = s.message(ctx, in, m)
		}
		if err != nil {
			return broken(nil, err, s)
		}
		if _, progress := m.(wire.Progress); s.unanswered(progress) {
			return errors.New("dictwire: the server did not answer a commit")
		}
	}
}

// greeting returns the greeting of the next connection.
func (s *Subscriber) greeting() wire.Greeting {
	g := wire.Greeting{
		Version: wire.Version, Token: s.c.o.Token, Subscribe: s.req.Topics, Subscription: s.req.Topics[0],
		Cursor: s.req.Cursor, From: s.req.From, Follow: s.req.Follow, Lossy: s.req.Lossy,
	}
	if s.req.Cursor != "" {
		g.Attempt = clockAttempt()
	}
	if s.req.Codec != nil {
		g.Format = s.req.Codec.Name()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	earliest := s.next == s.first && (s.req.From == "" || s.req.From == "earliest")
	if s.begun && !earliest { // "earliest" must not move to a later record if the first is trimmed meanwhile
		g.From = s.next
	}
	return g
}

// remote returns the error for a fault by which the server ended the session.
func (s *Subscriber) remote(f *fault.Error, greeted bool) error {
	if f.Code == fault.Lost {
		return &stopError{&lostPositionError{&RemoteError{f}}}
	}
	err := ended(f, s.String(), greeted)
	if !f.Code.Retryable() || f.Code == fault.Internal { // the next connection would end by the same fault
		return &stopError{err}
	}
	if f.Retry > 0 {
		return &retryError{f.Retry, err}
	}
	return err
}

// begin sets the state for a new connection. It returns an error if the store is not the one
// that was read before, since the positions to commit mean nothing there.
func (s *Subscriber) begin(conn net.Conn, next string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	told, _ := store.ParsePosition(next)
	if known, _ := store.ParsePosition(s.next); s.begun && known.Tag != told.Tag {
		return stop("%w (%v; the server goes on at %s, and %s was read)", ErrLost, s, next, s.next)
	}
	s.conn, s.told = conn, told
	if !s.begun {
		s.begun, s.first, s.next = true, next, next
		s.queue = append(s.queue, &Batch{Next: next})
		signal(s.arrived)
	}
	for _, c := range s.commits {
		c.sent = false
	}
	return nil
}

// between sets the state after a connection has ended.
func (s *Subscriber) between() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = nil
}

// message handles a message of the server.
func (s *Subscriber) message(ctx context.Context, in *wire.Reader, m wire.Message) error {
	switch m := m.(type) {
	case wire.Batch:
		return s.batch(ctx, in, m)
	case wire.Progress:
		if s.tell(m.Next) {
			s.put(&Batch{Next: m.Next})
		}
	case wire.Skipped:
		if s.misses(m.To, m.Next) {
			s.put(&Batch{Next: m.Next, Topic: m.Topic, Gap: &Gap{From: m.From, To: m.To, Topic: m.Topic}})
		}
	case wire.Damaged:
		if s.misses(m.To, m.Next) {
			s.put(&Batch{Next: m.Next, Topic: m.Topic, Gap: &Gap{From: m.From, To: m.To, Topic: m.Topic, Text: cmp.Or(m.Text, "damaged")}})
		}
	case wire.End:
		s.last(m.Position)
	case wire.Committed:
		s.committed(m.Position)
	case wire.Error:
		return s.remote(m.Fault, true)
	default:
		return stop("%w: a %T to one who reads", ErrProtocol, m)
	}
	return nil
}

// last handles the end of what is read.
func (s *Subscriber) last(position string) {
	s.tell(position)
	s.mu.Lock()
	again := s.ended
	s.ended = true
	s.mu.Unlock()
	if !again {
		s.put(&Batch{Next: position})
		s.finish(io.EOF)
	}
}

// tell records a position that this connection has reached, and reports whether what lies
// before it is new.
func (s *Subscriber) tell(next string) bool {
	p, err := store.ParsePosition(next)
	s.mu.Lock()
	known, knownErr := store.ParsePosition(s.next)
	news := err != nil || knownErr != nil || known.Tag != p.Tag || p.Compare(known) > 0
	if news {
		s.next = next
	}
	s.told = p
	s.mu.Unlock()
	s.sendCommits()
	return news
}

// misses is tell for records that can't be read up to a position. The server may be reading
// others meanwhile, so next need not advance: the gap is new if it ends after s.next.
func (s *Subscriber) misses(to, next string) bool {
	s.mu.Lock()
	known, knownErr := store.ParsePosition(s.next)
	s.mu.Unlock()
	p, err := store.ParsePosition(to)
	return s.tell(next) || err != nil || knownErr != nil || p.Compare(known) > 0
}

// batch reads the records of a batch.
func (s *Subscriber) batch(ctx context.Context, in *wire.Reader, m wire.Batch) error {
	b := &Batch{
		At: m.At, Next: m.Next, Topic: m.Topic, Principal: m.Principal, Producer: m.Producer, First: m.First, Time: m.Time,
		Times: m.Times, Codec: s.codec(m.Format),
	}
	if m.Times != nil && len(m.Times) != len(m.Lengths) {
		return stop("%w: a batch of %d records with %d times", ErrProtocol, len(m.Lengths), len(m.Times))
	}
	size := uint64(0)
	for _, n := range m.Lengths {
		size += uint64(n)
	}
	if size > store.MaxBlockBytes {
		return stop("%w: a batch of %d bytes", ErrProtocol, size)
	}
	if b.Codec == nil {
		return stop("dictwire: records of topic %s are in format %q, which is not known here: ask for another one", m.Topic, m.Format)
	}
	if err := s.room(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	if n := len(s.spare); n > 0 {
		b.space, s.spare = s.spare[n-1], s.spare[:n-1]
		s.kept -= cap(b.space.bytes)
	}
	old := s.next
	s.mu.Unlock()
	buf, err := in.Append(b.space.bytes[:0], size)
	if err != nil {
		return err
	}
	records, at := b.space.records[:0], 0
	for _, n := range m.Lengths {
		end := at + int(n)
		records = append(records, buf[at:end:end])
		at = end
	}
	b.space = space{buf, records}
	b.Records = records
	if s.tell(m.Next) && b.skipTo(old) {
		s.put(b)
	}
	return nil
}

func (s *Subscriber) codec(format string) codec.Codec {
	if s.req.Codec != nil && s.req.Codec.Name() == format {
		return s.req.Codec
	}
	return s.c.codecs[format]
}
