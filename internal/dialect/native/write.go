package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// A writing is the session of a connection that writes.
type writing struct {
	c       *dialect.Conn
	w       dialect.Writer
	q       *dialect.Sequence
	next    uint64        // the number of the next record
	formats []codec.Codec // for replies, in order of preference
	named   bool          // replies name their format
	reply   []byte        // scratch
	beats   *beater

	acked   acked
	submit  func(*dialect.WriteBatch) (bool, error) // nil: every batch is waited for
	flying  chan struct{}                           // of capacity 1: full while a batch is submitted and not settled
	failure error                                   // of a batch that was submitted; belongs to whoever has filled flying
	asking  bool                                    // submit is being called
}

// An acked is the number of the last ack, which it says.
type acked struct{ atomic.Uint64 }

// Append implements [dialect.Message].
func (a *acked) Append(dst []byte) []byte { return wire.Ack{Number: a.Load()}.Append(dst) }

// write opens a session that writes.
func (d *native) write(ctx context.Context, c *dialect.Conn, session dialect.Session, g *wire.Greeting) (opened, error) {
	cd, formats, err := d.writeFormats(g)
	if err != nil {
		return nil, err
	}
	if len(c.Buffered()) > 0 && g.Producer != "" {
		return nil, &fault.Error{
			Code: fault.Malformed, At: c.Offset(),
			Text: "bytes after the greeting before it was answered",
			Hint: `with "producer", wait for "next": it is the number of the first record`,
		}
	}
	s := &writing{c: c, formats: formats, named: len(g.Accept) > 0, flying: make(chan struct{}, 1)}
	s.w, err = session.Write(ctx, dialect.WriteRequest{
		Dialect: Kind.Name, Topic: g.Topic, Producer: g.Producer,
		Claim:   store.ClaimRequest{Attempt: g.Attempt, Acked: g.Acked, First: g.First, AcceptLost: g.AcceptLost},
		Fence:   func(e *fault.Error) { c.End(e) },
		Settled: func(n int) error { return errors.Join(s.ack(s.next-1+uint64(n)), c.Flush()) },
	})
	if err != nil {
		return nil, err
	}
	s.beats = newBeater(func() {
		_ = errors.Join(s.again(), s.c.Flush()) // a failure shows in More
	})
	c.Spoke()
	s.next = max(s.w.Claim().Next, 1)
	s.q = dialect.NewSequence(c, cd, d.Limits())
	s.q.Strict = true
	return s, nil
}

// serve takes records.
func (s *writing) serve(ctx context.Context) error {
	s.c.Beat, s.c.BeatEvery = s.again, wire.BeatEvery
	err := s.q.Each(ctx, s.taker(ctx))
	if failure := s.land(); err == nil {
		err = failure
	}
	if failure := s.c.SayRest(); err == nil {
		err = failure
	}
	return err
}

// trySubmit submits a batch, and reports whether it has. Nothing is on its way.
func (s *writing) trySubmit(b *dialect.WriteBatch) (taken bool, err error) {
	if s.submit == nil {
		return false, nil
	}
	s.flying <- struct{}{}
	s.c.Answering(true)
	s.asking = true
	taken, err = s.submit(b)
	s.asking = false
	if !taken {
		s.c.Answering(false)
		<-s.flying
	}
	return taken, err
}

// submitted acknowledges a batch that was submitted. It may run on any goroutine.
func (s *writing) submitted(settled dialect.Settled, err error) {
	s.next += uint64(settled.Records)
	if err != nil {
		s.failure = err
		s.c.End(err)
	} else {
		s.acked.Store(s.next - 1)
		s.c.SayNow(&s.acked)
	}
	<-s.flying
}

// land waits until no batch is on its way.
func (s *writing) land() error {
	select {
	case s.flying <- struct{}{}:
	default:
		s.beats.begin()
		s.flying <- struct{}{}
		s.beats.end()
	}
	defer func() { <-s.flying }()
	return s.failure
}

// taker returns a function that takes a batch of records.
func (s *writing) taker(ctx context.Context) func(*dialect.WriteBatch) error {
	answer := s.answer // once, since it is allocated
	if s.c.Prompt() {
		s.submit = s.w.Submitter(ctx, s.submitted)
	}
	return func(b *dialect.WriteBatch) error {
		if err := s.land(); err != nil {
			return err
		}
		s.beats.begin()
		if taken, err := s.trySubmit(b); taken || err != nil {
			s.beats.end()
			return err
		}
		settled, err := s.w.Take(ctx, b, answer)
		s.beats.end()
		s.next += uint64(settled.Records)
		if settled.Records > 0 {
			err = errors.Join(s.ack(s.next-1), err)
		}
		return err
	}
}

func (s *writing) close() {
	if !s.asking { // else it has panicked, and may never settle the batch
		_ = s.land()
	}
	s.beats.stop()
	s.w.Close()
}

// writeFormats returns the codec of the records and those of the replies.
func (d *native) writeFormats(g *wire.Greeting) (records codec.Codec, replies []codec.Codec, err error) {
	format := cmp.Or(g.Format, "json")
	if format == (mixed{}).Name() {
		records = mixed{json: d.json()}
	} else if records, err = d.format(format); err != nil {
		return nil, nil, err
	}
	if len(g.Accept) == 0 {
		return records, []codec.Codec{records}, nil
	}
	replies, err = d.accepted(g)
	return records, replies, err
}

// json returns the server's JSON codec.
func (d *native) json() json.Codec {
	cd, _ := d.Codecs["json"].(json.Codec)
	return cd
}

// welcome answers the greeting, including everything that it settles.
func (s *writing) welcome(ctx context.Context, d *native, g *wire.Greeting) error {
	m := wire.Welcome{
		Next: s.next, Durability: string(d.Durability()),
		MaxRecord: uint64(d.Limits().Effective().RecordBytes), Window: wire.Window,
	}
	if g.Producer != "" {
		m.Forgets = store.Expire
	}
	if sum, ok := dialect.ParseSum(s.w.Claim().Note); ok {
		m.Sum, m.Of = fmt.Sprintf("%08x", sum.CRC), sum.Of
	}
	if err := s.c.Say(m); err != nil {
		return err
	}
	for r, err := range s.w.Rejections(ctx, g.Acked) {
		if err != nil {
			return err
		}
		if err := s.c.Say(wire.Rejected{Number: r.Number, Code: fault.Code(r.Code), Reason: r.Reason, Text: r.Text}); err != nil {
			return err
		}
	}
	return s.ack(s.next - 1)
}

// ack tells the peer that all records up to a number are settled.
func (s *writing) ack(number uint64) error {
	s.acked.Store(number)
	return s.c.Say(&s.acked)
}

// again repeats the last ack.
func (s *writing) again() error { return s.c.Say(&s.acked) }

// answer sends the answer to a record of the current batch.
func (s *writing) answer(a dialect.Answer) error {
	number := s.next + uint64(a.Index)
	if a.Err != nil {
		return s.c.Say(wire.Rejected{Number: number, Code: a.Err.Code, Reason: a.Err.Reason, Text: a.Err.Told()})
	}
	m, isText := wire.Reply{Number: number}, false
	for _, cd := range s.formats {
		var (
			loss *codec.LossError
			err  error
		)
		switch s.reply, err = cd.Append(s.reply[:0], a.Reply); {
		case err == nil:
			m, isText = wire.Reply{Number: number, Length: uint64(len(s.reply))}, cd.Name() == json.Codec{}.Name()
			if s.named {
				m.Format = cd.Name()
			}
		case !errors.As(err, &loss):
			return err
		case m.Text == "": // of the preferred format
			m.Code, m.Text = fault.Loss, loss.Text()
			continue
		default:
			continue
		}
		break
	}
	if m.Length == 0 {
		return s.c.Say(m)
	}
	err := s.c.Say(m, dialect.Data{Bytes: s.reply, Text: isText})
	if cap(s.reply) > 64<<10 {
		s.reply = nil
	}
	return err
}
