package dialect

import (
	"context"
	"errors"
	"time"

	"github.com/dictwire/dictwire/store"
)

// An Operator is the part of a [Session] for operators. A principal sees the topics that
// it may read, and its own cursors and producers. One with the right to administer all
// topics sees those of others, too. Every error is an *[fault.Error] for the peer, which
// wraps ErrMissing for names that do not exist, or the cause of ctx.
type Operator interface {
	// Status returns the state of the server.
	Status(ctx context.Context) (Status, error)

	// Topics, Cursors and Producers return a page of what the principal may see, in
	// order, and Page.After for the next page, or "".
	Topics(ctx context.Context, p Page) (page []Kept, next string, err error)
	Cursors(ctx context.Context, p Page) (page []Lagging, next string, err error)
	Producers(ctx context.Context, p Page) (page []store.KnownProducer, next string, err error)

	// ResetCursor moves a cursor, forwards or back. It requires the right to administer
	// all topics that the cursor covers.
	ResetCursor(ctx context.Context, r ResetRequest) (Moved, error)

	// CommitCursor saves a position of one of the principal's own cursors and returns the
	// cursor's position, which never goes back. It requires the right to read the topics.
	// A reader that has claimed the cursor is not disturbed.
	CommitCursor(ctx context.Context, r CommitRequest) (store.Position, error)

	// Trim deletes a topic's records before a point and returns what is left. It requires
	// the right to administer the topic.
	Trim(ctx context.Context, topic, before string) (store.TopicStat, error)

	// Backup copies the store into the server's backup directory, under the given name
	// or, if it is "", under one made from the time. It returns the directory of the
	// copy. It requires the right to administer all topics.
	Backup(ctx context.Context, name string) (dir string, err error)
}

// ErrMissing is wrapped by the error for a name that does not exist.
var ErrMissing = errors.New("dialect: not there")

// A Page selects part of a list.
type Page struct {
	Principal string // whose cursors or producers; "" means the session's own
	After     string // as returned with the page before; "": the beginning
	Limit     int    // the most entries, at least 1
}

// A Kept is a topic and its retention, which is nil if the store does not tell.
type Kept struct {
	store.TopicStat
	Keep *store.Keep
}

// A Lagging is a cursor and the approximate number of records that its reader has not
// read.
type Lagging struct {
	store.SavedCursor
	Lag uint64
}

// A Status is the state of a server.
type Status struct {
	Principal  string // who asks
	Durability store.Durability
	MaxRecord  int
	Ready      bool

	// Counts is nil for principals that may not administer all topics.
	Counts *Counts
}

// Counts are a server's counters since it started.
type Counts struct {
	Started     time.Time
	Connections int   // currently open
	Records     int64 // stored, without rejected ones
	Rejected    int64
	Bytes       int64 // of accepted records

	Version   string          // of the program, or ""
	Receiving int64           // bytes of memory for records being received
	Reading   int64           // bytes of memory for records being sent to readers
	Heap      uint64          // bytes of the Go heap's objects
	Measures  *store.Measures // nil if the store has none
}

// A ResetRequest moves a cursor.
type ResetRequest struct {
	Principal    string // the cursor's owner; "" means the session's own
	Name         string
	Subscription string // as it was written; may be "" if only one cursor has the name
	To           string // as ReadRequest.From, and not ""
}

// A CommitRequest says up to which position a cursor's records are done.
type CommitRequest struct {
	Name         string
	Subscription string // as it was written
	To           string // a position
}

// A Moved is a cursor that was moved.
type Moved struct {
	store.CursorName
	From, To store.Position
}
