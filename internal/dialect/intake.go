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

// An Intake is the server as a connection sees it. Everything that a peer does belongs to
// a session. Several goroutines may use an Intake at once, each with its own sessions:
// see [Credentials.Worker].
type Intake interface {
	// Open opens a session. The error is an *[fault.Error] for the peer, for example for
	// missing or unknown credentials, or the cause of ctx.
	Open(ctx context.Context, c Credentials) (Session, error)
}

// Credentials say who a peer is. The zero value is an anonymous peer.
type Credentials struct {
	Token string

	// User is who the peer is according to the dialect itself. It becomes the principal
	// if nothing else authorizes the peer.
	User string

	// Worker is the goroutine that writes in the session. Nil means the goroutine of the
	// connection. Sessions that are used at once need different workers.
	Worker *Worker
}

// A Session is what one principal does on a connection. Names of producers and cursors
// belong to the principal.
type Session interface {
	// Principal returns the name of the peer.
	Principal() string

	// Write opens a Writer for a topic. If w names a producer, the producer is claimed,
	// and another connection that writes for it is fenced. The error is an *[fault.Error]
	// for the peer, or the cause of ctx.
	Write(ctx context.Context, w WriteRequest) (Writer, error)

	// Read opens a subscription. Another connection that reads with the same cursor is
	// fenced. The error is an *[fault.Error] for the peer, or the cause of ctx.
	Read(ctx context.Context, r ReadRequest) (Reader, error)

	Operator
}

// A WriteRequest says what a connection wants to write.
type WriteRequest struct {
	Dialect string // its name
	Topic   string // "" means the server's topic for connections that name none
	// Producer is the name of the producer that numbers the records; "" means that they
	// are not numbered.
	Producer string
	Claim    store.ClaimRequest

	// Key is an idempotency key in place of a producer, of any length; "" means none. The
	// claim tells what was already received with the same key within the last 24 hours.
	// Keys never collide with the names of producers.
	Key string

	// Note is returned by the producer's next claim. It has at most store.MaxNote bytes.
	// Nil means the sum of the last record: see [Sum].
	Note []byte

	// Whole, if not nil, makes Take settle a batch in a single append or not at all,
	// without replies. Take calls it with the bytes of memory that the batch needs so
	// far. It waits until they are available, or returns the fault that ends Take.
	Whole func(ctx context.Context, bytes int64) error

	// Patience is the longest that a batch may wait because the principal sends more than
	// it may. If it would have to wait for longer, Take returns a fault that wraps
	// ErrTooFast. Zero means no limit.
	Patience time.Duration

	// Fence is called, from any goroutine, when another connection has claimed the
	// producer. Nil disables the callback.
	Fence func(*fault.Error)

	// Settled is called by Take when the first n records of its batch are settled and the
	// rest takes longer, so that the peer need not wait for the rest. If it returns an
	// error, so does Take. Nil disables the callback.
	Settled func(n int) error
}

// ErrTooFast is wrapped by the fault of a peer that sends more than it may.
var ErrTooFast = errors.New("more than the principal may send")

// A Writer accepts the records of one topic. It must be closed.
type Writer interface {
	// Claim returns the claim of the producer. It is the zero value without a producer.
	Claim() store.Claim

	// Rejections yields the rejections of the producer's numbers after the given one and
	// before the claim's Next.
	Rejections(ctx context.Context, after uint64) iter.Seq2[store.Rejection, error]

	// Take accepts records that were received together, and returns when they are
	// settled. Every record takes a number, even one that can't be read. Once all are
	// settled, Take calls answer, if not nil, for each record that was rejected or has a
	// reply, in order, on the calling goroutine. If answer returns an error, so does
	// Take.
	//
	// The result says what was settled, even with an error. The error is an
	// *[fault.Error] for the peer, which ends the connection, or the cause of ctx.
	Take(ctx context.Context, b *WriteBatch, answer func(Answer) error) (Settled, error)

	// Submitter returns a function that is Take, except that it need not wait: it reports
	// whether it has taken the batch, and if so, calls done once the batch is settled:
	// once, on any goroutine, perhaps before it returns. done must not wait. Until it is
	// called, no other method may be. A batch that was not taken must be passed to Take.
	// Submitter returns nil if the store can't do that.
	Submitter(ctx context.Context, done func(Settled, error)) func(*WriteBatch) (bool, error)

	// Close releases the claim of the producer.
	Close()
}

// A WriteBatch is records of one codec that were received together.
type WriteBatch struct {
	Codec   codec.Codec
	Records [][]byte // one serialized dictionary each, or one of Bad; valid until Take returns
	Bad     []Bad    // the unreadable ones, in order
	Times   []int64  // of the events, as in store.Block; nil: unknown
	Strict  bool     // no record is beyond its format's standard: see [codec.Extender]; false: unknown
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
	rest := &WriteBatch{Codec: b.Codec, Records: b.Records[n:], Strict: b.Strict}
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

	// Next is the position after the last of them: whoever reads from there misses
	// nothing that comes later. It is the zero value if nothing was stored.
	Next store.Position
}

// A Bad is an unreadable record.
type Bad struct {
	Index int          // in WriteBatch.Records, which has what was received of it
	At    int64        // offset of its first byte from the connection's first
	Err   *fault.Error // why
}

// An Answer is the answer to one record.
type Answer struct {
	Index int          // of the record in its batch
	Reply *dict.Dict   // of the handler, or nil
	Err   *fault.Error // why the record was rejected, or nil
	Bad   bool         // it was one of WriteBatch.Bad
}

// A ReadRequest says what a connection wants to read.
type ReadRequest struct {
	Dialect      string   // its name
	Worker       *Worker  // for the goroutine that calls Batches; nil: one of its own
	Topics       []string // as store.ReadOptions.Topics, and not empty
	Subscription string   // as the peer wrote it
	Cursor       string   // "": no position is saved

	// From is where reading begins if the cursor is new: "earliest", "latest", a
	// position, a time in RFC 3339, or an age such as "10m". "" means earliest.
	From   string
	Follow bool

	// Forms are the forms that the peer accepts, in order of preference. None means
	// records as they are stored.
	Forms []Form

	// Filtering decides which records are sent. Nil means all. The reader closes the filter
	// at the end of Batches.
	Filtering *Filtering

	// Attempt grows with each connection of the cursor's reader. An attempt lower than
	// that of the current reader is stale. Zero means that attempts are not counted, and
	// the newest connection wins.
	Attempt uint64

	// Progress is how long a reader waits at the head before it yields a batch without a
	// block.
	Progress time.Duration

	// Fence is called, from any goroutine, when another connection has claimed the
	// cursor.
	Fence func(*fault.Error)
}

// A Form is a format in which a peer accepts records.
type Form struct {
	// Format is the name of the format. Records that are stored in it are sent unchanged.
	// "" means that no record is.
	Format string

	// Append appends the record at an index of a block, which was decoded as d.
	Append func(dst []byte, b *store.ReadBatch, index uint32, d *dict.Dict) ([]byte, error)

	// AppendStored, if not nil, appends a record as it is stored, so that it need not be
	// decoded. It reports false for one that Append must be called for.
	AppendStored func(dst []byte, b *store.ReadBatch, index uint32, record []byte) ([]byte, bool)
}

// FormOf returns the form of a codec's format.
func FormOf(c codec.Codec) Form {
	return Form{
		Format: c.Name(),
		Append: func(dst []byte, _ *store.ReadBatch, _ uint32, d *dict.Dict) ([]byte, error) { return c.Append(dst, d) },
	}
}

// A Part is consecutive records of a block: those from At on, before Next. Without a
// block it is progress.
type Part struct {
	store.ReadBatch
	Format  string   // the format of the records
	Lengths []uint32 // of the records, in bytes
	Data    []byte   // the records, one after the other

	// Indexes are those of the records in the block; several results may come from one
	// record. Nil means all from At on.
	Indexes []uint32
}

// Index returns the index in the block of one of the records.
func (p *Part) Index(i int) uint32 {
	if p.Indexes != nil {
		return p.Indexes[i]
	}
	return p.At.Index + uint32(i)
}

// A Reader delivers records. It must be closed. Batches and Commit may run at the same
// time, each on one goroutine.
type Reader interface {
	// Start returns the position where reading begins.
	Start() store.Position

	// Batches yields what a store's Read yields: see [store.Log]. Its memory is taken
	// from the share of all readers. Converted blocks come in parts, each of which is
	// valid until the next step. A record that fits no form is an *[fault.Error] with the
	// code loss. A second call continues after what the loop of the first has got.
	Batches(ctx context.Context) iter.Seq2[Part, error]

	// Alert makes Batches end at the head, and calls f whenever there may be more to read,
	// until stop is called: see [store.Alerter]. It returns nil if the store can't do that.
	Alert(f func()) (stop func())

	// Commit saves a position that the peer received as the Next of a batch. The error is
	// an *[fault.Error] for the peer, or the cause of ctx.
	Commit(ctx context.Context, p store.Position) error

	// Close releases the claim of the cursor.
	Close()
}
