package store

import (
	"errors"
	"fmt"
)

var (
	// ErrDuplicate is what [Log.Append] answers where all numbers of a block
	// were stored before.
	ErrDuplicate = errors.New("store: the records were stored before")

	// ErrFenced is what [Log.Append] answers where the producer has been claimed
	// by another writer, was forgotten or was never claimed, and what
	// [Cursors.Commit] returns for a claim that does not last.
	ErrFenced = errors.New("store: another one has claimed it")

	// ErrStale is what [Producers.Claim] and [Cursors.ClaimCursor] return where a
	// claim with a higher attempt came before.
	ErrStale = errors.New("store: a later attempt has claimed it")

	// ErrUnavailable is what methods wrap where the store can't do its work for
	// now: the disk is full or fails, or the store is closed.
	ErrUnavailable = errors.New("store: unavailable")

	// ErrPosition is what methods wrap where a position is not one of this
	// store: of another one, from before a restore, or beyond the head.
	ErrPosition = errors.New("store: not a position of this store")

	// ErrLocked is what a driver's Open wraps where another process has the
	// store open.
	ErrLocked = errors.New("store: in use by another process")
)

// A SequenceError is what [Log.Append] answers where a block does not begin
// with the number that its producer comes to next.
type SequenceError struct {
	Want uint64
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("store: want a block that begins with number %d", e.Want)
}

// A LimitError is what an append or a claim is answered that would make a name
// where there are as many as the store has room for, and an append of a principal that
// has stored as much as it may. Names that the store knows, and what others append, are
// not affected.
type LimitError struct {
	What      string // "topics", "producers", "cursors", "stored bytes"
	Principal string // whose names are too many; "" where all are together
	Max       int64  // how many there may be
	Option    string // that says how many: "MaxTopics"
}

func (e *LimitError) Error() string {
	whose := ""
	if e.Principal != "" {
		whose = fmt.Sprintf(" of %q", e.Principal)
	}
	return fmt.Sprintf("store: there are %d %s%s, as many as %s allows", e.Max, e.What, whose, e.Option)
}

// A LostError is what [Producers.Claim] returns where the store has less of a
// producer than it promised, as after a backup was restored.
type LostError struct {
	// Next is the number behind the last that the store has: 1 where it has
	// none.
	Next uint64

	// GivenUp is not zero where another claim went on behind records that the
	// store did not have: not all below this number were stored.
	GivenUp uint64
}

func (e *LostError) Error() string {
	if e.GivenUp > 0 {
		return fmt.Sprintf("store: not all records below number %d were stored", e.GivenUp)
	}
	return fmt.Sprintf("store: records from number %d on were stored before and are lost", e.Next)
}

// A DamageError is what a read yields for what can't be read.
type DamageError struct {
	From, To Position // what may be lost, without To
	Topic    string   // "" where it is not known
	Err      error    // why
}

func (e *DamageError) Error() string {
	topic := e.Topic
	if topic == "" {
		topic = "an unknown topic"
	}
	return fmt.Sprintf("store: damaged from %v to %v in %s: %v", e.From, e.To, topic, e.Err)
}

// Unwrap returns why it can't be read.
func (e *DamageError) Unwrap() error { return e.Err }

// A TrimmedError is what a read yields where blocks of a topic that it would
// have come to have been trimmed.
type TrimmedError struct {
	From, To Position // what is gone, without To
	Topic    string
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("store: %s was trimmed from %v to %v", e.Topic, e.From, e.To)
}
