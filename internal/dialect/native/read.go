package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A reading is the session of a connection that reads. One goroutine gives
// batches, another takes commits.
type reading struct {
	native
	c       *dialect.Conn
	r       dialect.Reader
	cursor  bool
	formats []codec.Codec // what the peer takes, preferred first; none: all
	accepts bool          // they are those of Greeting.Accept
	format  codec.Codec   // what records are converted to now

	mu   sync.Mutex
	sent store.Position // the highest that the peer was told; guarded by mu

	room    dialect.Room // for what is converted
	line    []byte       // scratch
	lengths []uint32     // scratch
	data    []byte       // scratch
}

// errDone ends the connection of a reader that has got all.
var errDone = errors.New("native: the reading is done")

func (d native) read(ctx context.Context, c *dialect.Conn, session dialect.Session, g wire.Greeting) error {
	s := &reading{native: d, c: c, cursor: g.Cursor != "", room: c.Room()}
	if g.Format != "" {
		cd, err := d.format(g.Format)
		if err != nil {
			return err
		}
		if g.Lossy {
			cd = lossy(cd)
		}
		s.formats = []codec.Codec{cd}
	} else if len(g.Accept) > 0 {
		var err error
		s.accepts = true
		if s.formats, err = d.accepted(g); err != nil {
			return err
		}
	}
	r, err := session.Read(ctx, dialect.ReadRequest{
		Dialect: Kind.Name,
		Topics:  g.Subscribe, Subscription: g.Subscription, Cursor: g.Cursor, From: g.From,
		Follow: g.Follow, Attempt: g.Attempt, Progress: wire.BeatEvery, Room: c.Room(),
		Fence: func(e *fault.Error) { c.End(e) },
	})
	if err != nil {
		return err
	}
	defer r.Close()
	c.Spoke()
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
			return &fault.Error{Code: fault.TooLarge, At: s.c.Offset(), Text: fmt.Sprintf("a message of more than %d bytes", wire.MaxGreeting)}
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
	f := func(err error) error {
		return &fault.Error{Code: fault.Malformed, At: s.c.Offset(), Text: "commit: " + err.Error(), Err: err}
	}
	text, err := wire.ParseCommit(line)
	if err != nil {
		return f(err)
	}
	if !s.cursor {
		return f(errors.New(`there is no cursor; name one in the greeting, as "cursor"`))
	}
	p, err := store.ParsePosition(text)
	if err != nil {
		return f(err)
	}
	s.mu.Lock()
	sent := s.sent
	s.mu.Unlock()
	if err := p.Within(sent.Tag, sent); err != nil {
		return f(fmt.Errorf("%v is not among what was sent here: %w", p, err))
	}
	s.c.Spoke()
	if err := s.r.Commit(ctx, p); err != nil {
		return err
	}
	if p.Compare(s.r.Start()) > 0 {
		s.c.SetKnown(true) // it has read
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
			err = &fault.Error{
				Code: fault.Internal, Text: "internal error", At: -1,
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

// batch gives the records of a block, in parts where they are converted and many.
func (s *reading) batch(ctx context.Context, b store.Batch) error {
	defer s.forget()
	if len(s.formats) == 0 || slices.ContainsFunc(s.formats, func(cd codec.Codec) bool { return cd.Name() == b.Block.Codec }) {
		if err := s.room.Need(ctx, int64(lengthCost*len(b.Block.Lengths))); err != nil {
			return err
		}
		skip := 0
		for _, n := range b.Block.Lengths[:b.At.Index] {
			skip += int(n)
		}
		return s.part(b, b.Block.Codec, b.Block.Lengths[b.At.Index:], b.Block.Data[skip:])
	}
	end := b.Next
	for b.Next = b.At; b.Next != end; {
		b.At = b.Next
		if err := s.convertPart(ctx, &b); err != nil {
			return err
		}
		if int(b.Next.Index) == len(b.Block.Lengths) {
			b.Next = end
		}
		if err := s.part(b, s.format.Name(), s.lengths, s.data); err != nil {
			return err
		}
	}
	return nil
}

// part gives some records of a block: those from b.At to b.Next.
func (s *reading) part(b store.Batch, format string, lengths []uint32, data []byte) error {
	m := wire.Batch{
		At: b.At.String(), Next: s.tell(b.Next), Topic: b.Block.Topic,
		Time: b.Time, Format: format, Lengths: lengths,
	}
	if b.Block.Principal != store.Anonymous {
		m.Principal = b.Block.Principal
	}
	if p := b.Block.Producer; !p.IsZero() {
		m.Producer, m.First = p.Name, b.Block.First+uint64(b.At.Index)
	}
	s.line = m.Append(s.line[:0])
	return s.c.Send(s.line, data)
}

const (
	fullPart    = 64 << 10 // bytes of converted records at which others are another part
	convertCost = 64       // bytes of memory that it takes to convert one, at most: 32 for its items, and the result
	resultCost  = 4        // bytes of the result for each of a record, mostly
	lengthCost  = 12       // bytes of a part's head for each record
	idleScratch = 4 << 10  // bytes of scratch that are kept
)

// convertPart converts records from b.At on to the first format that holds them,
// and sets b.Next after the last of them.
func (s *reading) convertPart(ctx context.Context, b *store.Batch) (err error) {
	for i, cd := range s.formats {
		var (
			f    *fault.Error
			most = len(b.Block.Lengths)
		)
		if i > 0 {
			most = 1 // a preferred format may hold the next one
		}
		s.format = cd
		converted := s.convert(ctx, b, most)
		if converted == nil || !errors.As(converted, &f) || f.Code != fault.Loss {
			return converted
		}
		if err == nil {
			err = converted
		}
	}
	return err
}

// convert converts records from b.At on to s.format, at most as many as it is
// told, and sets b.Next after the last of them. The error is of the first one.
func (s *reading) convert(ctx context.Context, b *store.Batch, most int) error {
	stored, ok := s.Codecs[b.Block.Codec]
	if !ok {
		return &fault.Error{Code: fault.Unsupported, At: -1, Text: fmt.Sprintf("%v is in format %q, which can't be read here", b.At, b.Block.Codec)}
	}
	s.data, s.lengths = s.data[:0], s.lengths[:0]
	for i, record := range b.Block.Records(b.At.Index) {
		before := len(s.data)
		room, err := s.convertOne(ctx, stored, record)
		if err != nil && i > b.At.Index {
			break // those before it are given first
		}
		if err != nil {
			return s.fault(*b, i, err)
		}
		if !room {
			break
		}
		s.lengths = append(s.lengths, uint32(len(s.data)-before))
		b.Next.Index = i + 1
		if len(s.data) >= fullPart || len(s.lengths) == most {
			break
		}
	}
	return nil
}

// convertOne converts one record. It reports false where there is no room for it
// beside those before it.
func (s *reading) convertOne(ctx context.Context, stored codec.Codec, record []byte) (room bool, err error) {
	others := len(s.data) + lengthCost*(len(s.lengths)+1)
	for need := int64(others + resultCost*len(record)); ; {
		if need > s.room.Size() && !s.room.Want(ctx, need) {
			if len(s.data) > 0 {
				return false, nil
			}
			if err := s.room.Need(ctx, need); err != nil {
				return false, err
			}
		}
		data, err := s.build(ctx, stored, record)
		if err != nil {
			return false, err
		}
		if need = int64(others + len(data) - len(s.data)); need <= s.room.Size() || s.room.Want(ctx, need) {
			s.data = data
			return true, nil
		}
		// It is larger than expected: it is made again when there is room for it.
	}
}

// build returns s.data with a converted record behind it.
func (s *reading) build(ctx context.Context, stored codec.Codec, record []byte) ([]byte, error) {
	room := s.c.Building().Share(s.c.Known())
	if err := room.Take(ctx, convertCost*int64(len(record))); err != nil {
		return nil, err
	}
	defer room.Keep(0)
	d, err := stored.Decode(record, codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1})
	if err != nil {
		return nil, err
	}
	return s.format.Append(s.data, d)
}

// fault returns the fault of a record that can't be converted.
func (s *reading) fault(b store.Batch, index uint32, err error) error {
	at := b.At
	at.Index = index
	var (
		loss   *codec.LossError
		syntax *codec.SyntaxError
	)
	f := &fault.Error{Code: fault.Internal, At: -1, Text: fmt.Sprintf("the record at %v: %v", at, err), Err: err}
	switch {
	case errors.As(err, &loss):
		f.Text = fmt.Sprintf("the record at %v: %s", at, loss.Text())
		f.Code, f.Hint = fault.Loss, `read without "format", or with "lossy":true`
		if s.accepts {
			f.Hint = `accept a format that holds it, as cbor does`
		}
	case !errors.As(err, &syntax): // it is not the record's
		return err
	}
	return f
}

// forget gives back what was needed for a block.
func (s *reading) forget() {
	if cap(s.line)+cap(s.data)+4*cap(s.lengths) > idleScratch {
		s.line, s.data, s.lengths = nil, nil, nil
	}
	s.room.Keep(0)
}
