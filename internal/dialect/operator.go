package dialect

import (
	"context"
	"errors"
	"time"

	"github.com/dictwire/dictwire/store"
)

// An Operator is what a [Session] offers to those who look after a server. It shows a
// principal what it may know: topics that it may read, and its own cursors and producers;
// those of another one where it has the right to administer all topics. All errors are
// an *[fault.Error] for the peer, or the cause of ctx; what is not there wraps
// ErrMissing.
type Operator interface {
	// Status says how the server is.
	Status(ctx context.Context) (Status, error)

	// Topics, Cursors and Producers return a page of what the principal may see, in
	// order, and what Page.After is for the next one, "" where there is none.
	Topics(ctx context.Context, p Page) (page []Kept, next string, err error)
	Cursors(ctx context.Context, p Page) (page []Lagging, next string, err error)
	Producers(ctx context.Context, p Page) (page []store.KnownProducer, next string, err error)

	// ResetCursor moves a cursor, back too. It wants the right to administer all that
	// the cursor reads.
	ResetCursor(ctx context.Context, r ResetRequest) (Moved, error)

	// CommitCursor saves a position of one of the principal's own cursors, which it has
	// the right to read by, and returns where the cursor stands: it never goes back. The
	// reader who holds the cursor, if any, goes on.
	CommitCursor(ctx context.Context, r CommitRequest) (store.Position, error)

	// Trim deletes what a topic holds before a point, and returns what is left. It wants
	// the right to administer the topic.
	Trim(ctx context.Context, topic, before string) (store.TopicStat, error)

	// Backup makes a copy of the store in the server's directory for that, under a name,
	// "" for one that says when. It returns where the copy is. It wants the right to
	// administer all topics.
	Backup(ctx context.Context, name string) (dir string, err error)
}

// ErrMissing says that what a request names is not there.
var ErrMissing = errors.New("dialect: not there")

// A Page is which part of a list is wanted.
type Page struct {
	Principal string // whose cursors or producers; "" means the session's own
	After     string // as the page before told; "" begins
	Limit     int    // how many, at least 1
}

// A Kept is a topic, and what of it is kept, nil where the store does not say so.
type Kept struct {
	store.TopicStat
	Keep *store.Keep
}

// A Lagging is a cursor, and about how many records its reader has not read.
type Lagging struct {
	store.SavedCursor
	Lag uint64
}

// A Status says how a server is.
type Status struct {
	Principal  string // who asks
	Durability store.Durability
	MaxRecord  int
	Ready      bool

	// Counts is nil for those who may not administer all topics.
	Counts *Counts
}

// Counts are what a server has seen since it began.
type Counts struct {
	Started     time.Time
	Connections int   // that are open
	Records     int64 // that were stored, rejected ones not included
	Rejected    int64
	Bytes       int64 // of the records that were taken in

	Version   string          // of the program, or ""
	Receiving int64           // bytes of memory of records that are received
	Reading   int64           // and of those that are given to readers
	Heap      uint64          // bytes of memory of all values of the program
	Measures  *store.Measures // nil where the store does not measure itself
}

// A ResetRequest says which cursor is to stand where.
type ResetRequest struct {
	Principal    string // whose it is; "" means the session's own
	Name         string
	Subscription string // as it was written; "" where only one cursor has the name
	To           string // as ReadRequest.From, and not ""
}

// A CommitRequest says up to where a cursor's records are done with.
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
