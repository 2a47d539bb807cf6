// Package spool is the contract of a client's spool: it keeps records, durable
// and numbered, until the server has settled them. Package disk has one in a
// directory.
package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

var (
	// ErrFull is what [Spool.Append] wraps where a spool is full and does not
	// wait. Nothing of that call is in the spool.
	ErrFull = errors.New("dictwire: the spool is full")

	// ErrDamaged says that a spool can't give back records that are not settled,
	// as where its disk damaged them.
	ErrDamaged = errors.New("dictwire: records of the spool can't be read any more")
)

// A Spool keeps a client's records until they are settled: each topic's from
// number 1 on. Any number of goroutines may use it at once.
type Spool interface {
	// Producer is the name under which the records take their numbers. It is
	// the spool's own, and survives with it.
	Producer() string

	// Attempt returns a number above all that it returned before, durably.
	Attempt(ctx context.Context) (uint64, error)

	// Append makes records of one topic and format durable, and returns the
	// number of the first. Where the spool is full it waits for room, or
	// returns ErrFull, wrapped. Where the spool has a method MaxAppend()
	// int64, a client passes no more bytes at once, unless one record has more.
	Append(ctx context.Context, topic, format string, records ...[]byte) (first uint64, err error)

	// Topics returns all topics that hold or held records.
	Topics(ctx context.Context) ([]Topic, error)

	// Read yields a topic's records in order from a number on, and waits for
	// more until ctx ends. Those that are settled may be gone: it then begins
	// with the first that is left. A batch is valid until the loop's next step.
	// Where records can't be read any more, the last that it yields is a
	// *GapError, wrapped: after them, reading goes on.
	Read(ctx context.Context, topic string, from uint64) iter.Seq2[Batch, error]

	// Settle notes that a topic's records up to a number are settled, and the
	// CRC-32C of the last. They may be dropped. A lower number than before
	// changes nothing.
	Settle(ctx context.Context, topic string, number uint64, sum uint32) error
}

// A Notifier is a spool into which others than its client put records.
type Notifier interface {
	// Notify passes a function that tells the client that the spool holds a
	// topic's records up to the one before next. It is called before the spool is
	// used.
	Notify(added func(topic string, next uint64) error)
}

// A Topic is where a topic of a spool stands.
type Topic struct {
	Topic string
	First uint64 // the oldest record that is held, or Next
	Next  uint64 // the number that the next record takes
	Acked uint64 // the highest number that is known to be settled
	Sum   uint32 // the CRC-32C of record Acked, where that is not zero
}

// A Batch is records of one format in a row.
type Batch struct {
	First   uint64 // the number of the first
	Format  string // the name of their codec
	Records [][]byte
}

// A GapError says that records of a spool can't be read any more.
type GapError struct {
	From, To uint64 // their numbers, without To
	Err      error  // why
}

func (e *GapError) Error() string {
	records := "records"
	if e.To-e.From == 1 {
		records = "record"
	}
	return fmt.Sprintf("%d %s from number %d on can't be read: %v", e.To-e.From, records, e.From, e.Err)
}

// Unwrap returns why they can't be read.
func (e *GapError) Unwrap() error { return e.Err }
