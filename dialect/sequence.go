package dialect

import (
	"context"
	"errors"
	"io"

	"github.com/dictwire/dictwire/codec"
)

// maxBatch is how many records are taken in at once.
const maxBatch = 4096

// A Sequence finds records that stand back to back on a connection.
//
//	for q := dialect.NewSequence(c, cd, limits); ; {
//		found := q.Scan()
//		… // what there is of q.Batch, and q.Bad, is taken in
//		q.Discard()
//		if found == dialect.FoundNothing {
//			err := q.More(ctx)
//			…
//		}
//	}
type Sequence struct {
	// Batch is the whole records that Scan found.
	Batch Batch

	// Bad is what Scan found behind them where it returned Bad. Final says that
	// the next record can't be found.
	Bad   Rejection
	Final bool

	c       *Conn
	scanner codec.Scanner
	done    int  // buffered bytes that Discard drops
	within  bool // the beginning of a record is behind them
	ended   bool // no more bytes come
}

// NewSequence returns the sequence of records in the given format.
func NewSequence(c *Conn, cd codec.Codec, limits codec.Limits) *Sequence {
	return &Sequence{c: c, scanner: cd.NewScanner(limits), Batch: Batch{Codec: cd}, Bad: Rejection{Codec: cd}}
}

// A Found says what stands behind the records that Scan found.
type Found uint8

// The answers of Scan.
const (
	FoundNothing Found = iota // more bytes are needed, if more come
	FoundMore                 // there may be more records
	FoundBad                  // a record that can't be read
	FoundEnd                  // no more bytes come
)

// Scan finds the whole records that are buffered, some of them where they are
// many. They are valid until Discard.
func (q *Sequence) Scan() Found {
	buf, n := q.c.Buffered(), 0
	q.Batch.Records = q.Batch.Records[:0]
	var start, end int
	var err error
	for err == nil && len(q.Batch.Records) < maxBatch {
		start, end, err = q.scanner.Next(buf[n:])
		if q.ended && errors.Is(err, codec.ErrIncomplete) {
			n += start
			start, end, err = q.scanner.End(buf[n:])
		}
		if err == nil {
			q.Batch.Records = append(q.Batch.Records, buf[n+start:n+end])
			n += end
		}
	}
	switch {
	case err == nil:
		q.done = n
		return FoundMore
	case errors.Is(err, codec.ErrIncomplete), err == io.EOF:
		q.done = n + start
		q.within = q.done < len(buf)
		if q.ended {
			return FoundEnd
		}
		return FoundNothing
	default:
		q.Bad.At = q.c.Offset() + int64(n+start)
		q.Bad.Err = FaultOf(err, q.Bad.At)
		q.Bad.Bytes = buf[n+start : n+end]
		q.Final = final(err)
		q.done = n + end
		return FoundBad
	}
}

func final(err error) bool {
	var e *codec.SyntaxError
	return !errors.As(err, &e) || e.Final
}

// Discard drops what the last Scan found.
func (q *Sequence) Discard() {
	q.c.Discard(q.done)
	q.done = 0
}

// More waits until more bytes are buffered, or no more come: see [Conn.More].
func (q *Sequence) More(ctx context.Context) error {
	err := q.c.More(ctx, q.within, q)
	if err == io.EOF {
		q.ended = true
		return nil
	}
	return err
}

// Scratch implements [Holder].
func (q *Sequence) Scratch() int { return q.scanner.Scratch() + 24*cap(q.Batch.Records) }

// Release implements [Holder].
func (q *Sequence) Release() {
	q.scanner.Release()
	q.Batch.Records = nil
}
