package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A reading is the session of a connection that reads. Its giver delivers batches, the
// connection's goroutine receives commits.
type reading struct {
	c       *dialect.Conn
	w       *dialect.Worker // delivers batches
	r       dialect.Reader
	cursor  bool
	accepts bool // the greeting has "accept"
	follows bool

	giver  *giver
	cancel context.CancelCauseFunc // of the giver's context

	mu   sync.Mutex
	sent store.Position // the highest position that the peer was told; guarded by mu

	line []byte // scratch
}

// errDone ends the connection of a reader that has received everything.
var errDone = errors.New("native: the reading is done")

// read opens a session that reads.
func (d *native) read(ctx context.Context, c *dialect.Conn, session dialect.Session, g *wire.Greeting) (opened, error) {
	s := &reading{c: c, w: c.Worker(), cursor: g.Cursor != "", follows: g.Follow, accepts: g.Format == "" && len(g.Accept) > 0}
	forms, err := d.forms(g)
	if err != nil {
		return nil, err
	}
	s.r, err = session.Read(ctx, dialect.ReadRequest{
		Dialect: Kind.Name, Worker: s.w,
		Topics: g.Subscribe, Subscription: g.Subscription, Cursor: g.Cursor, From: g.From,
		Follow: g.Follow, Forms: forms, Attempt: g.Attempt, Progress: wire.BeatEvery,
		Fence: func(e *fault.Error) { c.End(e) },
	})
	if err != nil {
		return nil, err
	}
	c.Spoke()
	s.sent = s.r.Start()
	return s, nil
}

// welcome answers the greeting.
func (s *reading) welcome(_ context.Context, _ *native, g *wire.Greeting) error {
	if err := errors.Join(s.c.Say(wire.Ready{Next: s.sent.String()}), s.c.Flush()); err != nil {
		return err
	}
	s.c.Patient = g.Follow
	return nil
}

func (s *reading) close() {
	if s.giver != nil {
		s.cancel(nil)
		_ = s.giver.close()
	}
	s.r.Close()
}

// forms returns the forms that a greeting asks for.
func (d *native) forms(g *wire.Greeting) (forms []dialect.Form, err error) {
	var formats []codec.Codec
	switch {
	case g.Format != "":
		cd, err := d.format(g.Format)
		if err != nil {
			return nil, err
		}
		if g.Lossy {
			cd = lossy(cd)
		}
		formats = []codec.Codec{cd}
	case len(g.Accept) > 0:
		if formats, err = d.accepted(g); err != nil {
			return nil, err
		}
	}
	for _, cd := range formats {
		forms = append(forms, dialect.FormOf(cd))
	}
	return forms, nil
}

// explain adds a hint to the error of a record that can't be converted.
func (s *reading) explain(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Code == fault.Loss {
		f.Hint = `read without "format", or with "lossy":true`
		if s.accepts {
			f.Hint = `accept a format that holds it, as cbor does`
		}
	}
	return err
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

// serve delivers batches and receives commits until one of the two ends.
func (s *reading) serve(ctx context.Context) error {
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.giver = &giver{s: s, next: s.r.Start(), since: time.Now(), given: make(chan error, 1)}
	s.giver.wake(ctx)
	return s.finish(s.take(ctx))
}

// gave ends the connection if there is nothing more to deliver, err says why, and no commit
// may come.
func (s *reading) gave(err error) {
	if err != nil || !s.cursor {
		s.c.End(errors.Join(errDone, err))
	}
}

// finish ends the session after take has returned err.
func (s *reading) finish(err error) error {
	gone := err == nil && s.c.HasMessages() // messages have no half-close
	switch {
	case gone:
		s.c.End(errDone)
	case err == nil: // the peer has closed its side, and may still read
		select {
		case err = <-s.giver.given:
			s.giver.given <- err
			return err
		case <-s.c.Ending():
			err = s.c.Ended()
		}
	}
	s.cancel(err)
	switch giving := s.giver.close(); {
	case gone: // and there was nothing left to deliver
		return nil
	case errors.Is(err, errDone):
		return giving
	}
	return err
}

// take receives commits until the peer closes its side.
func (s *reading) take(ctx context.Context) error {
	for {
		within, err := s.commits(ctx)
		if err == nil {
			err = s.c.More(ctx, within, nil)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// commits takes the buffered commits. It reports whether another one has begun.
func (s *reading) commits(ctx context.Context) (within bool, err error) {
	for {
		buf := s.c.Buffered()
		end := bytes.IndexByte(buf, '\n')
		if max(end, 0) > wire.MaxGreeting || end < 0 && len(buf) > wire.MaxGreeting {
			return false, &fault.Error{Code: fault.TooLarge, At: s.c.Offset(), Text: fmt.Sprintf("a message of more than %d bytes", wire.MaxGreeting)}
		}
		if end < 0 {
			return len(buf) > 0, nil
		}
		if err := s.commit(ctx, buf[:end]); err != nil {
			return false, err
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

// tell notes a position that is about to be sent to the peer, and returns its text.
func (s *reading) tell(p store.Position) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Compare(s.sent) > 0 || s.sent.IsZero() {
		s.sent = p
	}
	return p.String()
}

// part delivers some records of a block.
func (s *reading) part(b dialect.Part) error {
	defer func() {
		if cap(s.line) > idleScratch {
			s.line = nil
		}
	}()
	m := wire.Batch{
		At: b.At.String(), Next: s.tell(b.Next), Topic: b.Block.Topic,
		Time: b.Time, Format: b.Format, Lengths: b.Lengths,
	}
	if b.Block.Principal != store.Anonymous {
		m.Principal = b.Block.Principal
	}
	if p := b.Block.Producer; !p.IsZero() {
		m.Producer, m.First = p.Name, b.Block.First+uint64(b.At.Index)
	}
	if from := int(b.At.Index); len(b.Block.Times) > from {
		m.Times = b.Block.Times[from : from+len(b.Lengths)]
	}
	s.line = m.Append(s.line[:0])
	return s.w.Send(s.line, s.data(b)...)
}

// data returns the records of a part, as one piece or as messages of several records
// each.
func (s *reading) data(b dialect.Part) []dialect.Data {
	text := b.Format == json.Codec{}.Name()
	if !s.c.HasMessages() {
		return []dialect.Data{{Bytes: b.Data, Text: text}}
	}
	var all []dialect.Data
	from, to := 0, 0
	for _, n := range b.Lengths {
		if to > from && to+int(n)-from > maxMessage {
			all = append(all, dialect.Data{Bytes: b.Data[from:to], Text: text})
			from = to
		}
		to += int(n)
	}
	return append(all, dialect.Data{Bytes: b.Data[from:to], Text: text})
}

// maxMessage is the largest message of several records, within what clients accept by
// default.
const maxMessage = 256 << 10

// idleScratch is how many bytes of scratch memory are kept.
const idleScratch = 4 << 10
