// Package spool is the contract of a client's spool, which keeps records durable and numbered
// until the server has settled them. Package disk implements it in a directory; package
// spooltest has the tests that every implementation passes.
package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

var (
	// ErrFull is wrapped by errors of [Spool.Append] if the spool is full and does not wait. The
	// spool has kept nothing of that call.
	ErrFull = errors.New("dictwire: the spool is full")

	// ErrDamaged says that a spool can't read unsettled records, for example because its disk
	// has damaged them.
	ErrDamaged = errors.New("dictwire: records of the spool can't be read any more")
)

// A Spool keeps a client's records until they are settled. The records of each topic are
// numbered from 1. Any number of goroutines may use a Spool at once.
type Spool interface {
	// Producer returns the name of the producer that numbers the records. It is unique to the
	// spool, and never changes.
	Producer() string

	// Attempt returns a number that is durably higher than all that it returned before.
	Attempt(ctx context.Context) (uint64, error)

	// Append makes records of one topic and format durable, and returns the number of the first.
	// If the spool is full, Append waits for room or returns an error that wraps ErrFull. If the
	// spool has a method MaxAppend() int64, a client passes at most so many bytes in one call,
	// unless a single record has more.
	Append(ctx context.Context, topic, format string, records ...[]byte) (first uint64, err error)

	// Topics returns all topics that have, or had, records.
	Topics(ctx context.Context) ([]Topic, error)

	// Read yields a topic's records in order from a number on, and waits for more until ctx ends.
	// If settled records are gone, it begins with the first one that is left. A batch is valid
	// until the next step of the loop. If records can't be read, Read ends with an error that
	// wraps a *GapError; another Read may begin after the gap.
	Read(ctx context.Context, topic string, from uint64) iter.Seq2[Batch, error]

	// Settle records that a topic's records up to a number are settled, with the CRC-32C of the
	// last one. The spool may delete them. A lower number than before has no effect.
	Settle(ctx context.Context, topic string, number uint64, sum uint32) error
}

// A Notifier is a spool to which others than its client add records.
type Notifier interface {
	// Notify sets the function that tells the client that records of a topic were added; next is
	// the number after the last one. It is called before the spool is used.
	Notify(added func(topic string, next uint64) error)
}

// A Topic is the state of a topic in a spool.
type Topic struct {
	Topic string
	First uint64 // the number of the oldest record that the spool has, or Next
	Next  uint64 // the number of the next record
	Acked uint64 // the highest number known to be settled
	Sum   uint32 // the CRC-32C of record Acked, unless Acked is 0
}

// A Batch is consecutive records of one format.
type Batch struct {
	First   uint64 // the number of the first
	Format  string // the name of their codec
	Records [][]byte
}

// A GapError says that a spool can't read some of its records.
type GapError struct {
	From, To uint64 // the numbers from From up to, but not including, To
	Err      error  // why
}

func (e *GapError) Error() string {
	records := "records"
	if e.To-e.From == 1 {
		records = "record"
	}
	return fmt.Sprintf("%d %s from number %d on can't be read: %v", e.To-e.From, records, e.From, e.Err)
}

// Unwrap returns the cause.
func (e *GapError) Unwrap() error { return e.Err }
