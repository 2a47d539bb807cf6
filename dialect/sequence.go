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
//		… // q.Batch is taken in
//		q.Discard()
//		if found == dialect.FoundNothing {
//			err := q.More(ctx)
//			…
//		}
//	}
type Sequence struct {
	// Strict says that the first record that can't be read ends the sequence,
	// and that one that the connection's end cuts off is none. Else only those
	// end it behind which the next one can't be found.
	Strict bool

	// Batch is the records that Scan found, bad ones included.
	Batch Batch

	// Fault is what the sequence ends by where Scan returned FoundFault.
	Fault *Error

	c       *Conn
	scanner codec.Scanner
	done    int  // buffered bytes that Discard drops
	within  bool // the beginning of a record is behind them
	ended   bool // no more bytes come
}

// NewSequence returns the sequence of records in the given format.
func NewSequence(c *Conn, cd codec.Codec, limits codec.Limits) *Sequence {
	return &Sequence{c: c, scanner: cd.NewScanner(limits), Batch: Batch{Codec: cd}}
}

// A Found says what stands behind the records that Scan found.
type Found uint8

// The answers of Scan.
const (
	FoundNothing Found = iota // more bytes are needed, if more come
	FoundMore                 // there may be more records
	FoundFault                // nothing that could be read
	FoundEnd                  // no more bytes come
)

// Scan finds the records that are buffered, some of them where they are many.
// They are valid until Discard.
func (q *Sequence) Scan() Found {
	buf := q.c.Buffered()
	q.Batch.Records, q.Batch.Bad = q.Batch.Records[:0], q.Batch.Bad[:0]
	q.done = 0
	for len(q.Batch.Records) < maxBatch {
		rest := buf[q.done:]
		start, end, err := q.scanner.Next(rest)
		if q.ended && errors.Is(err, codec.ErrIncomplete) {
			q.done += start
			rest = buf[q.done:]
			start, end, err = q.scanner.End(rest)
		}
		switch {
		case err == nil:
			q.Batch.Records = append(q.Batch.Records, rest[start:end])
			q.done += end
		case errors.Is(err, codec.ErrIncomplete), err == io.EOF:
			q.done += start
			q.within = q.done < len(buf)
			if q.ended {
				return FoundEnd
			}
			return FoundNothing
		default:
			at := q.c.Offset() + int64(q.done+start)
			q.done += end
			if q.bad(rest[start:end], at, err) {
				return FoundFault
			}
		}
	}
	return FoundMore
}

// bad takes note of a record that can't be read, and reports whether it ends the
// sequence.
func (q *Sequence) bad(record []byte, at int64, err error) bool {
	b := Bad{Index: len(q.Batch.Records), At: at, Err: FaultOf(err, at)}
	if q.Strict || final(err) {
		q.Fault = b.Err
	}
	if !q.Strict || b.Err.Code != codec.Truncated {
		q.Batch.Records, q.Batch.Bad = append(q.Batch.Records, record), append(q.Batch.Bad, b)
	}
	return q.Fault != nil
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
	q.Batch.Records, q.Batch.Bad = nil, nil
}
