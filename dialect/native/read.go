package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dialect"
	"github.com/dictwire/dictwire/internal/lease"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A reading is the session of a connection that reads. One goroutine gives
// batches, another takes commits.
type reading struct {
	Dialect
	c      *dialect.Conn
	r      dialect.Reader
	cursor bool
	format codec.Codec // what records are converted to; nil: none

	mu   sync.Mutex
	sent store.Position // the highest that the peer was told; guarded by mu

	memory  *lease.Lease
	line    []byte   // scratch
	lengths []uint32 // scratch
	data    []byte   // scratch
}

// errDone ends the connection of a reader that has got all.
var errDone = errors.New("native: the reading is done")

func (d Dialect) read(ctx context.Context, c *dialect.Conn, in dialect.Intake, g wire.Greeting) error {
	s := &reading{Dialect: d, c: c, cursor: g.Cursor != "", memory: c.Memory()}
	if g.Format != "" {
		cd, err := d.format(g.Format)
		if err != nil {
			return err
		}
		s.format = cd
		if g.Lossy {
			s.format = lossy(cd)
		}
	}
	r, err := in.Read(ctx, dialect.ReadRequest{
		Dialect: d.Name(),
		Topics:  g.Subscribe, Subscription: g.Subscription, Cursor: g.Cursor, From: g.From,
		Follow: g.Follow, Attempt: g.Attempt, Progress: wire.BeatEvery,
		Fence: func(e *dialect.Error) { c.End(e) },
	})
	if err != nil {
		return err
	}
	defer r.Close()
	s.r, s.sent = r, r.Start()
	if err := errors.Join(c.Say(wire.Ready{Next: r.Start().String()}), c.Flush()); err != nil {
		return err
	}
	c.Patient = g.Follow
	return s.serve(ctx)
}

// lossy returns a codec that writes substitutes for what it can't hold.
func lossy(cd codec.Codec) codec.Codec {
	switch cd := cd.(type) {
	case json.Codec:
		cd.Lossy = true
		return cd
	case msgpack.Codec:
		cd.Lossy = true
		return cd
	case pickle.Codec:
		cd.Lossy = true
		return cd
	default:
		return cd
	}
}

// serve gives batches and takes commits until one of them ends.
func (s *reading) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	given := make(chan error, 1)
	go func() {
		err := s.giveSafely(ctx)
		if err != nil || !s.cursor { // else commits may still come
			s.c.End(errors.Join(errDone, err))
		}
		given <- err
	}()
	err := s.take(ctx)
	if err == nil { // the peer says no more, and may still read
		select {
		case err = <-given:
			return err
		case <-s.c.Ending():
			err = s.c.Ended()
		}
	}
	cancel(err)
	if giving := <-given; errors.Is(err, errDone) {
		return giving
	}
	return err
}

// take takes commits until the peer says no more.
func (s *reading) take(ctx context.Context) error {
	for {
		buf := s.c.Buffered()
		end := bytes.IndexByte(buf, '\n')
		if max(end, 0) > wire.MaxGreeting || end < 0 && len(buf) > wire.MaxGreeting {
			return &dialect.Error{Code: codec.TooLarge, At: s.c.Offset(), Text: fmt.Sprintf("a message of more than %d bytes", wire.MaxGreeting)}
		}
		if end < 0 {
			if err := s.c.More(ctx, len(buf) > 0, nil); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			continue
		}
		if err := s.commit(ctx, buf[:end]); err != nil {
			return err
		}
		s.c.Discard(end + 1)
	}
}

func (s *reading) commit(ctx context.Context, line []byte) error {
	fault := func(err error) error {
		return &dialect.Error{Code: codec.Malformed, At: s.c.Offset(), Text: "commit: " + err.Error(), Err: err}
	}
	text, err := wire.ParseCommit(line)
	if err != nil {
		return fault(err)
	}
	if !s.cursor {
		return fault(errors.New(`there is no cursor; name one in the greeting, as "cursor"`))
	}
	p, err := store.ParsePosition(text)
	if err != nil {
		return fault(err)
	}
	s.mu.Lock()
	sent := s.sent
	s.mu.Unlock()
	if err := p.Within(sent.Tag, sent); err != nil {
		return fault(fmt.Errorf("%v is not among what was sent here: %w", p, err))
	}
	if err := s.r.Commit(ctx, p); err != nil {
		return err
	}
	return s.c.Say(wire.Committed{Position: text})
}

// tell notes a position that the peer is about to be told.
func (s *reading) tell(p store.Position) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Compare(s.sent) > 0 || s.sent.IsZero() {
		s.sent = p
	}
	return p.String()
}

// giveSafely is give, of which a panic ends the connection, not the server.
func (s *reading) giveSafely(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &dialect.Error{
				Code: dialect.Internal, Text: "internal error", At: -1,
				Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
			}
		}
	}()
	return s.give(ctx)
}

// give gives batches, and returns nil where there is no more.
func (s *reading) give(ctx context.Context) error {
	next := s.r.Start()
	for b, err := range s.r.Batches(ctx) {
		var (
			damage  *store.DamageError
			trimmed *store.TrimmedError
		)
		switch {
		case errors.As(err, &damage):
			err = s.c.Say(wire.Damaged{
				From: damage.From.String(), To: damage.To.String(), Topic: damage.Topic, Text: damage.Err.Error(),
				Next: s.tell(b.Next),
			})
		case errors.As(err, &trimmed):
			err = s.c.Say(wire.Skipped{
				From: trimmed.From.String(), To: trimmed.To.String(), Topic: trimmed.Topic, Next: s.tell(b.Next),
			})
		case err != nil:
		case b.Block != nil:
			err = s.batch(ctx, b)
		default:
			err = s.c.Say(wire.Progress{Next: s.tell(b.Next)})
		}
		if b.Block == nil && err == nil {
			err = s.c.Flush()
		}
		if err != nil {
			return err
		}
		next = b.Next
	}
	return errors.Join(s.c.Say(wire.End{Position: s.tell(next)}), s.c.Flush())
}

// batch gives the records of a block.
func (s *reading) batch(ctx context.Context, b store.Batch) error {
	m := wire.Batch{
		At: b.At.String(), Next: b.Next.String(), Topic: b.Block.Topic,
		Time: b.Time, Format: b.Block.Codec,
	}
	if p := b.Block.Producer; !p.IsZero() {
		m.Producer, m.First = p.Name, b.Block.First+uint64(b.At.Index)
	}
	skip := 0
	for _, n := range b.Block.Lengths[:b.At.Index] {
		skip += int(n)
	}
	data := b.Block.Data[skip:]
	m.Lengths = b.Block.Lengths[b.At.Index:]
	if s.format != nil && s.format.Name() != b.Block.Codec {
		var err error
		if data, err = s.convert(b); err != nil {
			return err
		}
		m.Format, m.Lengths = s.format.Name(), s.lengths
	}
	if err := s.memory.Resize(ctx, int64(len(data)+8*len(m.Lengths))); err != nil {
		return err
	}
	s.tell(b.Next)
	s.line = m.Append(s.line[:0])
	err := s.c.Send(s.line, data)
	if cap(s.line)+cap(s.data) > 64<<10 {
		s.line, s.data, s.lengths = nil, nil, nil
	}
	_ = s.memory.Resize(ctx, 0) // giving back never waits
	return err
}

// convert returns the records in the format that the peer wants, and keeps their
// lengths.
func (s *reading) convert(b store.Batch) ([]byte, error) {
	stored, ok := s.Codecs[b.Block.Codec]
	if !ok {
		return nil, &dialect.Error{Code: dialect.Unsupported, At: -1, Text: fmt.Sprintf("%v is in format %q, which can't be read here", b.At, b.Block.Codec)}
	}
	s.data, s.lengths = s.data[:0], s.lengths[:0]
	unlimited := codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1}
	for i, record := range b.Block.Records(b.At.Index) {
		before := len(s.data)
		d, err := stored.Decode(record, unlimited)
		if err == nil {
			s.data, err = s.format.Append(s.data, d)
		}
		if err != nil {
			at := b.At
			at.Index = i
			fault := &dialect.Error{Code: dialect.Internal, At: -1, Text: fmt.Sprintf("the record at %v: %v", at, err), Err: err}
			var loss *codec.LossError
			if errors.As(err, &loss) {
				fault.Code, fault.Hint = dialect.Loss, `read without "format", or with "lossy":true`
			}
			return nil, fault
		}
		s.lengths = append(s.lengths, uint32(len(s.data)-before))
	}
	return s.data, nil
}
