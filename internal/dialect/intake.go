package dialect

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

// An Intake is the server as a connection sees it. All that a peer does there
// belongs to a session. Any number of goroutines may use it at once, each with sessions
// of its own: see [Credentials.Worker].
type Intake interface {
	// Open says who speaks. The error is an *[fault.Error] for the peer, as where
	// the credentials are missing or unknown, or the cause of ctx.
	Open(ctx context.Context, c Credentials) (Session, error)
}

// Credentials are what a peer gives to say who it is. The zero value says nothing.
type Credentials struct {
	Token string

	// User is who the dialect itself has found out that speaks. It is the principal
	// where nobody is authorized by other means.
	User string

	// Worker is the goroutine that writes in the session. Nil means the connection's
	// own. Of two sessions that are used at once, one at least has another.
	Worker *Worker
}

// A Session is what one principal does on a connection. Producers and cursors have
// their names in its principal's name space.
type Session interface {
	// Principal returns who speaks.
	Principal() string

	// Write opens a way for records into a topic. Where w names a producer, it
	// is claimed, and another connection that writes for it is fenced. The
	// error is an *[fault.Error] for the peer, or the cause of ctx.
	Write(ctx context.Context, w WriteRequest) (Writer, error)

	// Read opens a subscription. Another connection that holds the same cursor
	// is fenced. The error is an *[fault.Error] for the peer, or the cause of ctx.
	Read(ctx context.Context, r ReadRequest) (Reader, error)

	Operator
}

// A WriteRequest says what a connection wants to write.
type WriteRequest struct {
	Dialect string // its name
	Topic   string // "" means the server's topic for connections that name none
	// Producer is the name of the producer whose numbers the records take; ""
	// means that they take none.
	Producer string
	Claim    store.ClaimRequest

	// Key is, in place of a producer, an idempotency key: what comes with it again
	// within 24 hours is told by the claim from what is new. Keys and producers never
	// meet. It is not empty where it is used, and of any length.
	Key string

	// Note is what the producer's next claim is given back, at most
	// store.MaxNote bytes. Nil means the sum of the last record: see [Sum].
	Note []byte

	// Whole, where it is not nil, makes Take settle a batch in one append, or nothing of
	// it. Nobody is told replies then. It is called with how many bytes of memory the
	// batch takes until it is settled, more each time, and waits for them, or returns the
	// fault that ends Take.
	Whole func(ctx context.Context, bytes int64) error

	// Patience is how long the records of a batch may have to wait since the principal
	// sends more than it may; for longer, Take returns a fault that wraps ErrTooFast.
	// Zero means that they wait as long as it takes.
	Patience time.Duration

	// Fence is called, from any goroutine, when another connection has become
	// the producer's writer. Nil means that nobody wants to know.
	Fence func(*fault.Error)

	// Settled is called by Take when the first n records of its batch are settled
	// and the others take longer, so that the peer need not wait for them. Nil
	// disables the callback. Take returns its error.
	Settled func(n int) error
}

// ErrTooFast is the cause of a fault that tells a peer that it sends more than it may.
var ErrTooFast = errors.New("more than the principal may send")

// A Writer takes in records. Close must be called in the end.
type Writer interface {
	// Claim says where the producer stands. It is the zero value where there is
	// none.
	Claim() store.Claim

	// Rejections yields the rejections of the producer's numbers above after, and
	// below the claim's Next.
	Rejections(ctx context.Context, after uint64) iter.Seq2[store.Rejection, error]

	// Take takes in records that were received together, and returns when they
	// are settled. Each takes a number, those that can't be read like any other.
	// It calls answer, where that is not nil, for each record that
	// was rejected or is replied to, in order, from the calling goroutine, once
	// all of them are settled. An error of answer is returned.
	//
	// What is settled is returned with an error, too. The error is an
	// *[fault.Error] for the peer that ends the connection, or the cause of ctx.
	Take(ctx context.Context, b *WriteBatch, answer func(Answer) error) (Settled, error)

	// Close gives the producer back.
	Close()
}

// A WriteBatch is records of one codec that were received together.
type WriteBatch struct {
	Codec   codec.Codec
	Records [][]byte // each one serialized dictionary, or one of Bad; valid until Take returns
	Bad     []Bad    // those that can't be read, in order
	Times   []int64  // of the records, as in store.Block; nil: they have none
}

// Time returns the time of a record, or store.UnknownTime.
func (b *WriteBatch) Time(index int) int64 {
	if index < len(b.Times) {
		return b.Times[index]
	}
	return store.UnknownTime
}

// From returns the batch without the first n records.
func (b *WriteBatch) From(n int) *WriteBatch {
	rest := &WriteBatch{Codec: b.Codec, Records: b.Records[n:]}
	if b.Times != nil {
		rest.Times = b.Times[n:]
	}
	for _, bad := range b.Bad {
		if bad.Index >= n {
			bad.Index -= n
			rest.Bad = append(rest.Bad, bad)
		}
	}
	return rest
}

// Settled says how many of a batch's first records are settled.
type Settled struct {
	Records int

	// Next is the position after the last of them: whoever reads from there on
	// misses nothing that comes later. It is the zero value where nothing was stored.
	Next store.Position
}

// A Bad is a record that can't be read.
type Bad struct {
	Index int          // in WriteBatch.Records: what has come of it so far
	At    int64        // offset of its first byte from the connection's first
	Err   *fault.Error // why
}

// An Answer is what is said about one record.
type Answer struct {
	Index int          // of the record in its batch
	Reply *dict.Dict   // what the handler replies, if anything
	Err   *fault.Error // why the record was rejected
	Bad   bool         // it was one of WriteBatch.Bad
}

// A ReadRequest says what a connection wants to read.
type ReadRequest struct {
	Dialect      string   // its name
	Topics       []string // as store.ReadOptions.Topics, and not empty
	Subscription string   // the same as the peer wrote it
	Cursor       string   // "" means that no position is saved

	// From is where reading begins, unless the cursor knows better: "earliest",
	// "latest", a position, a time of RFC 3339, or an age as "10m". "" means
	// earliest.
	From   string
	Follow bool

	// Forms are those in which the peer takes records, preferred first. None means
	// as they are stored.
	Forms []Form

	// Attempt grows with each connection of the cursor's reader. A lower one
	// than that of the reader who holds the cursor is stale. Zero means that
	// nobody counts: the newest connection wins.
	Attempt uint64

	// Progress is how long a reader that follows waits before a batch without
	// a block.
	Progress time.Duration

	// Fence is called, from any goroutine, when another connection has taken
	// the cursor.
	Fence func(*fault.Error)
}

// A Form is a way in which a peer takes records.
type Form struct {
	// Format is the name of the format. Records that are stored in it are given as
	// they are. "" means that none are.
	Format string

	// Append appends the record of an index of a block, which is d.
	Append func(dst []byte, b *store.ReadBatch, index uint32, d *dict.Dict) ([]byte, error)
}

// FormOf is the form of a codec's format.
func FormOf(c codec.Codec) Form {
	return Form{c.Name(), func(dst []byte, _ *store.ReadBatch, _ uint32, d *dict.Dict) ([]byte, error) { return c.Append(dst, d) }}
}

// A Part is records of a block that are given together: those from At on, before Next.
// Without a block it is progress.
type Part struct {
	store.ReadBatch
	Format  string   // of the form
	Lengths []uint32 // of the records, in bytes
	Data    []byte   // the records, one after the other
}

// A Reader gives records out. Close must be called in the end. Batches and
// Commit may be used at once, each by one goroutine.
type Reader interface {
	// Start is where reading begins.
	Start() store.Position

	// Batches yields what there is: see [store.Log]'s Read. Its memory is that of all
	// readers. Blocks that are converted
	// come in parts, each of which is valid until the next step. A record that no
	// form holds is an *[fault.Error] with the code loss.
	Batches(ctx context.Context) iter.Seq2[Part, error]

	// Commit saves a position, which the peer has been told as a batch's Next.
	// The error is an *[fault.Error] for the peer, or the cause of ctx.
	Commit(ctx context.Context, p store.Position) error

	// Close gives the cursor back.
	Close()
}
