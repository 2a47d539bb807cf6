// Package stream is the dialect of bare sequences: dictionaries of one format
// back to back, and nothing else on the connection.
//
//	{"name": "Alice"}⏎{"name": "Bob"}⏎…end
//
// The end of the connection ends the sequence; a record that it cuts off is
// rejected. There is no acknowledgement. Where the server's handler replies,
// each reply is a dictionary of the same format, in the order of the records.
//
// A bad record costs only itself where the codec's scanner finds the next one.
// Otherwise the peer is told, as {"error": …, "code": …, "at": offset}, and the
// sequence ends. Bad records that do not end the sequence are told as well, the
// first 16 of a connection, since a peer that never reads must not be stopped by
// that.
package stream

import (
	"context"
	"errors"
	"io"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dialect"
)

const (
	// maxBatch is how many records are taken in at once.
	maxBatch = 1024
	// maxTold is how many bad records of a connection the peer is told of.
	maxTold = 16
)

// A Dialect serves bare sequences of one format.
type Dialect struct {
	Codec  codec.Codec
	Limits codec.Limits
}

var _ dialect.Dialect = Dialect{}

// Name returns "stream".
func (Dialect) Name() string { return "stream" }

// Serve serves one sequence. See [dialect.Dialect].
func (d Dialect) Serve(ctx context.Context, c *dialect.Conn, in dialect.Intake) error {
	c.Codec = d.Codec
	s := &session{Dialect: d, c: c, in: in, scanner: d.Codec.NewScanner(d.Limits)}
	s.batch = dialect.Batch{Codec: d.Codec, Dialect: d.Name()}
	for ended := false; ; {
		within, err := s.scan(ctx, ended)
		if err != nil {
			return err
		}
		if ended {
			return nil
		}
		switch err := c.More(ctx, within, s); {
		case err == io.EOF:
			ended = true
		case errors.Is(err, dialect.ErrDrained):
			return nil
		case err != nil:
			return err
		}
	}
}

// A session is one connection's sequence.
type session struct {
	Dialect
	c       *dialect.Conn
	in      dialect.Intake
	scanner codec.Scanner
	batch   dialect.Batch
	told    int
}

// scan takes in all whole records that are buffered. It reports whether the
// beginning of another one is. ended says that no more bytes come.
func (s *session) scan(ctx context.Context, ended bool) (within bool, err error) {
	for {
		buf, n := s.c.Buffered(), 0
		s.batch.Records = s.batch.Records[:0]
		var start, end int
		for err = nil; err == nil && len(s.batch.Records) < maxBatch; {
			start, end, err = s.scanner.Next(buf[n:])
			if ended && errors.Is(err, codec.ErrIncomplete) {
				n += start
				start, end, err = s.scanner.End(buf[n:])
			}
			if err == nil {
				s.batch.Records = append(s.batch.Records, buf[n+start:n+end])
				n += end
			}
		}
		if len(s.batch.Records) > 0 {
			if err := s.in.Take(ctx, &s.batch, s.answer); err != nil {
				return false, err
			}
		}
		switch {
		case err == nil:
			s.c.Discard(n)
		case errors.Is(err, codec.ErrIncomplete), err == io.EOF:
			s.c.Discard(n + start)
			return n+start < len(buf), nil
		default:
			fault := dialect.FaultOf(err, s.c.Offset()+int64(n+start))
			s.reject(ctx, fault, buf[n+start:n+end])
			s.c.Discard(n + end)
			if final(err) {
				return false, fault
			}
			if s.told < maxTold {
				s.told++
				if err := s.c.Reply(s.Codec, fault.Dict()); err != nil {
					return false, err
				}
			}
		}
	}
}

func final(err error) bool {
	var e *codec.SyntaxError
	return !errors.As(err, &e) || e.Final
}

// answer writes what the handler says of a record.
func (s *session) answer(a dialect.Answer) error {
	if a.Err != nil {
		return s.c.Reply(s.Codec, a.Err.Dict())
	}
	err := s.c.Reply(s.Codec, a.Reply)
	var loss *codec.LossError
	if errors.As(err, &loss) {
		fault := &dialect.Error{Code: dialect.Loss, Text: "the reply can't be sent: " + loss.Error(), At: -1}
		return s.c.Reply(s.Codec, fault.Dict())
	}
	return err
}

func (s *session) reject(ctx context.Context, fault *dialect.Error, record []byte) {
	s.in.Reject(ctx, &dialect.Rejection{Codec: s.Codec, Dialect: s.Name(), Err: fault, Bytes: record})
}

// Scratch and Release make a session the dialect.Holder of its memory.

func (s *session) Scratch() int { return s.scanner.Scratch() + 24*cap(s.batch.Records) }

func (s *session) Release() {
	s.scanner.Release()
	s.batch.Records = nil
}
