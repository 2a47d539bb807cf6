package dialect

import (
	"context"
	"errors"
	"io"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
)

const (
	// maxBatch is the most records in a batch.
	maxBatch = 4096

	// maxBad is the most unreadable records in a batch: their faults are not charged, and
	// hundreds of peers may have a batch waiting.
	maxBad = 64
)

// A Source provides bytes over time: a [Conn], the body of a request, a chunk.
type Source interface {
	// Buffered returns the bytes that have come and were not discarded. The slice is
	// valid until the next call of Discard or More.
	Buffered() []byte

	// Discard drops the first n buffered bytes.
	Discard(n int)

	// Offset returns the offset of the first buffered byte.
	Offset() int64

	// More waits until more bytes are buffered. within says that a record has begun. h is
	// memory that may be given back during the wait. More returns io.EOF at the end of
	// the source, or the error that ends the sequence: see [Conn.More].
	More(ctx context.Context, within bool, h Holder) error
}

// A Sequence finds records that stand back to back in a source.
//
//	q := dialect.NewSequence(source, cd, limits)
//	err := q.Each(ctx, func(b *dialect.WriteBatch) error { … }) // takes b in
type Sequence struct {
	// Strict makes the first unreadable record end the sequence, and a record that is cut
	// off by the end of the connection count as none. Otherwise the sequence is a bare
	// one and goes on where it can: see [codec.Scanner]'s Resume.
	Strict bool

	// FirstAlone makes the first record a batch of its own.
	FirstAlone bool

	source   Source
	scanner  codec.Scanner
	extender codec.Extender // the scanner, if it is one
	batch    WriteBatch
	fault    *fault.Error // what ends the sequence
	done     int          // buffered bytes that were scanned
	within   bool         // a record has begun
	ended    bool         // no more bytes come
}

// NewSequence returns the sequence of records in the given format.
func NewSequence(s Source, cd codec.Codec, limits codec.Limits) *Sequence {
	q := &Sequence{source: s, scanner: cd.NewScanner(limits), batch: WriteBatch{Codec: cd}}
	q.extender, _ = q.scanner.(codec.Extender)
	return q
}

// Each passes the records to take in batches, including unreadable ones, until the
// sequence ends. A batch is valid until take returns. The error is nil at the end of the
// source, an *[fault.Error] if a bad record ends the sequence, or the error of take or
// [Source.More].
func (q *Sequence) Each(ctx context.Context, take func(*WriteBatch) error) error {
	if !q.Strict {
		q.scanner.Resume()
	}
	limit := maxBatch
	if q.FirstAlone {
		limit = 1
	}
	for {
		f := q.scan(limit)
		q.batch.Strict = q.extender != nil && !q.extender.Extended()
		if len(q.batch.Records) > 0 {
			limit = maxBatch
			if err := take(&q.batch); err != nil {
				return err
			}
		}
		q.source.Discard(q.done)
		switch f {
		case atFault:
			return q.fault
		case atEnd:
			return nil
		case atNothing:
			switch err := q.source.More(ctx, q.within, q); err {
			case nil:
			case io.EOF:
				q.ended = true
			default:
				return err
			}
		case atMore: // scan goes on
		}
	}
}

// Ends reports whether f is the fault that ends the sequence.
func (q *Sequence) Ends(f *fault.Error) bool { return q.fault == f }

// A found says what follows the records that scan has found.
type found uint8

const (
	atNothing found = iota // more bytes are needed
	atMore                 // there may be more records
	atFault                // unreadable bytes
	atEnd                  // no more bytes come
)

// scan finds the buffered records, up to a limit.
func (q *Sequence) scan(limit int) found {
	buf := q.source.Buffered()
	q.batch.Records, q.batch.Bad = q.batch.Records[:0], q.batch.Bad[:0]
	q.done = 0
	for len(q.batch.Records) < limit && len(q.batch.Bad) < maxBad {
		rest := buf[q.done:]
		start, end, err := q.scanner.Next(rest)
		if q.ended && errors.Is(err, codec.ErrIncomplete) {
			q.done += start
			rest = buf[q.done:]
			start, end, err = q.scanner.End(rest)
		}
		switch {
		case err == nil:
			q.batch.Records = append(q.batch.Records, rest[start:end])
			q.done += end
		case errors.Is(err, codec.ErrIncomplete), err == io.EOF:
			q.done += start
			q.within = q.done < len(buf)
			if q.ended {
				return atEnd
			}
			return atNothing
		default:
			at := q.source.Offset() + int64(q.done+start)
			q.done += end
			if q.bad(rest[start:end], at, err) {
				return atFault
			}
		}
	}
	return atMore
}

// bad notes an unreadable record and reports whether it ends the sequence.
func (q *Sequence) bad(record []byte, at int64, err error) bool {
	b := Bad{Index: len(q.batch.Records), At: at, Err: FaultOf(err, at)}
	if q.Strict || final(err) {
		q.fault = b.Err
	}
	if !q.Strict || b.Err.Code != fault.Truncated {
		q.batch.Records, q.batch.Bad = append(q.batch.Records, record), append(q.batch.Bad, b)
	}
	return q.fault != nil
}

func final(err error) bool {
	var e *codec.SyntaxError
	return !errors.As(err, &e) || e.Final
}

// Scratch implements [Holder].
func (q *Sequence) Scratch() int { return q.scanner.Scratch() + 24*cap(q.batch.Records) }

// Release implements [Holder].
func (q *Sequence) Release() {
	q.scanner.Release()
	q.batch.Records, q.batch.Bad = nil, nil
}
