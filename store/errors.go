package store

import (
	"errors"
	"fmt"
)

var (
	// ErrDuplicate is the result of [Log.Append] for a block whose numbers were all
	// stored before.
	ErrDuplicate = errors.New("store: the records were stored before")

	// ErrFenced is the result of [Log.Append] if another writer has claimed the producer,
	// or if it was forgotten or never claimed. [Cursors.Commit] returns it for a claim
	// that has ended.
	ErrFenced = errors.New("store: another one has claimed it")

	// ErrStale is returned by [Producers.Claim] and [Cursors.ClaimCursor] if there was a
	// claim with a higher attempt.
	ErrStale = errors.New("store: a later attempt has claimed it")

	// ErrUnavailable is wrapped by errors of a store that can't work at present: the disk
	// is full or fails, or the store is closed.
	ErrUnavailable = errors.New("store: unavailable")

	// ErrPosition is wrapped by errors for a position that is not one of this store: from
	// another store, from before a restore, or beyond the head.
	ErrPosition = errors.New("store: not a position of this store")

	// ErrLocked is wrapped by the error of a driver's Open if another process has the
	// store open.
	ErrLocked = errors.New("store: in use by another process")
)

// A SequenceError is the result of [Log.Append] for a block that does not begin with the
// next number of its producer.
type SequenceError struct {
	Want uint64
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("store: want a block that begins with number %d", e.Want)
}

// A LimitError is the error of an append or a claim that would create one name too many,
// or of an append by a principal that has stored as much as it may. Existing names, and
// appends of other principals, are not affected.
type LimitError struct {
	What      string // "topics", "producers", "cursors", "stored bytes"
	Principal string // whose limit it is; "": that of all principals together
	Max       int64  // the limit
	Option    string // that sets the limit: "MaxTopics"
}

func (e *LimitError) Error() string {
	whose := ""
	if e.Principal != "" {
		whose = fmt.Sprintf(" of %q", e.Principal)
	}
	return fmt.Sprintf("store: there are %d %s%s, as many as %s allows", e.Max, e.What, whose, e.Option)
}

// A LostError is returned by [Producers.Claim] if the store has fewer records of a
// producer than it acknowledged, for example after a backup was restored.
type LostError struct {
	// Next is the number after the last record that the store has, at least 1.
	Next uint64

	// GivenUp, if not zero, says that an earlier claim accepted a loss: some records
	// below this number were never stored.
	GivenUp uint64
}

func (e *LostError) Error() string {
	if e.GivenUp > 0 {
		return fmt.Sprintf("store: not all records below number %d were stored", e.GivenUp)
	}
	return fmt.Sprintf("store: records from number %d on were stored before and are lost", e.Next)
}

// A DamageError is yielded by a read for records that can't be read.
type DamageError struct {
	From, To Position // what may be lost; To is exclusive
	Topic    string   // "" if unknown
	Err      error    // the cause
}

func (e *DamageError) Error() string {
	topic := e.Topic
	if topic == "" {
		topic = "an unknown topic"
	}
	return fmt.Sprintf("store: damaged from %v to %v in %s: %v", e.From, e.To, topic, e.Err)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// A TrimmedError is yielded by a read if blocks that it would have read were trimmed.
type TrimmedError struct {
	From, To Position // what is gone; To is exclusive
	Topic    string
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("store: %s was trimmed from %v to %v", e.Topic, e.From, e.To)
}
