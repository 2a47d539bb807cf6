package store

import (
	"context"
	"iter"
	"time"
)

// A Store is a [Log], the [Producers] that wrote it, and the [Cursors] that
// read it. Any number of goroutines may use it at once.
//
// Several servers may have the same store, each through a Store of its own. What
// one has answered for, its own readers see at once, and those of others in time.
//
// No method answers from a write that is not durable yet: not a reader, not a
// claim, and not an append with ErrDuplicate. An error that makes a client stop
// for good (ErrStale, a *LostError, ErrPosition) is answered only when the store
// itself has confirmed it, never from what a server happens to know.
type Store interface {
	Log
	Producers
	Cursors

	// Limits says what the store can do now.
	Limits() Limits

	// Ready returns nil where appends can work now. Else the error wraps
	// ErrUnavailable and says why, or is the cause of ctx.
	Ready(ctx context.Context) error
}

// A Backuper is a [Store] that can be copied while it is in use.
type Backuper interface {
	// Backup makes a copy in dir, which must not exist. The copy holds all that
	// was durable when Backup was called, and may hold more. Where it is opened
	// it takes another tag, so that positions from after the copy are refused.
	Backup(ctx context.Context, dir string) error
}

// A Log is blocks of records in an order that all readers see.
type Log interface {
	// Append makes blocks durable and answers for each, in the same order. The
	// error of a result is
	//
	//   - nil: the block is stored at the position, with the promise of
	//     Limits;
	//   - ErrDuplicate: all of its numbers were stored before, durably;
	//   - *SequenceError: it does not begin with the number that the producer
	//     comes to next. It is also the answer to a block of which a part was
	//     stored before;
	//   - ErrFenced: its epoch is not that of the producer's last claim;
	//   - *LimitError: it would make a name that is one too many, or its principal
	//     has stored as much as it may;
	//   - ErrUnavailable, wrapped: the store can't write now;
	//   - another one: the block breaks a rule of Block or is larger than
	//     Limits, or ctx ended before the write began.
	//
	// After ErrUnavailable it is unknown whether the block will be there later:
	// the producer must be claimed anew, which tells. The same goes for
	// ErrDuplicate and *SequenceError where the writer did not expect them.
	//
	// The blocks of one producer settle together, whatever their topics: but for
	// those that are ErrDuplicate, all are stored at once or none is. Where one
	// of them can't be, the others get its error. Blocks of different producers,
	// and of none, are independent. A block without a producer needs no claim.
	//
	// Append does not change the blocks, and the caller may reuse them when it
	// returns. Once the write has begun, Append returns with its end, whatever
	// becomes of ctx.
	Append(ctx context.Context, blocks ...*Block) []Result

	// Read yields batches in order, from a position on. It yields a position
	// only when all below it are durable. A batch without a block is progress:
	// everything below its Next is done. Where it does not follow, Read ends at
	// the head with such a batch.
	//
	// Two errors come with a batch without a block, after whose Next reading
	// goes on: *DamageError for what can't be read, *TrimmedError for what was
	// trimmed since the reader was at from (not from the beginning). Every other
	// error is the last that is yielded: ErrPosition, wrapped, where from is not
	// of this store or beyond its head; ErrUnavailable, wrapped, where the store
	// is closed; the cause of ctx.
	//
	// The batch is valid until the loop's next step. A reader that pauses holds
	// nothing but one batch, and slows nobody.
	Read(ctx context.Context, from Position, o ReadOptions) iter.Seq2[ReadBatch, error]

	// CheckPosition returns nil where p is the beginning, or a position of this
	// store that is not beyond its head, whoever has written there. Else the
	// error wraps ErrPosition; or ErrUnavailable, where that can't be confirmed
	// now; or is the cause of ctx.
	CheckPosition(ctx context.Context, p Position) error

	// Seek returns the position of the first block that was stored at t or
	// later, or the head. The time is ReadBatch.Time.
	Seek(ctx context.Context, t time.Time) (Position, error)

	// Head returns the position after the last block that readers of this Store
	// can see.
	Head(ctx context.Context) (Position, error)

	// Topics returns the topics that hold or held records and that patterns name, as
	// [ReadOptions.Topics], in the order of their names: all of them where there is no
	// pattern. To look for single topics takes as long however many there are.
	Topics(ctx context.Context, patterns ...string) ([]TopicStat, error)

	// Backlog returns how many records a Read of the topics would yield from a
	// position on, about: it may be an estimate, but where it is 0 there are none. The
	// error is that of CheckPosition.
	Backlog(ctx context.Context, from Position, topics []string) (records uint64, err error)

	// Trim deletes a topic's blocks before a position, durably. It deletes
	// whole blocks, so that the one that holds the position stays. It changes
	// nothing that Claim returns. The error is ErrPosition, wrapped, where
	// before is not of this store or beyond its head; ErrUnavailable, wrapped;
	// or the cause of ctx.
	Trim(ctx context.Context, topic string, before Position) error
}

// Producers are the numbered logs of records that clients write.
type Producers interface {
	// Claim makes the caller the only writer of p, after p's appends in flight
	// have ended, under the rules of [ProducerState.Claim]. The error is
	// ErrStale, a *LostError or a *LimitError, which change nothing and fence
	// nobody; ErrUnavailable, wrapped; or the cause of ctx.
	Claim(ctx context.Context, p Producer, r ClaimRequest) (Claim, error)

	// Release says that nobody looks at Fenced of the claim with that epoch any
	// more, so that the store need not remember it. Nothing else changes.
	Release(p Producer, epoch uint64)

	// Rejections yields the rejections of p's numbers above after, in order:
	// those of the last Window numbers, whatever becomes of the records. An
	// error is the last that is yielded.
	Rejections(ctx context.Context, p Producer, after uint64) iter.Seq2[Rejection, error]

	// Forget makes p unknown, durably, and fences its writer. Its records stay.
	Forget(ctx context.Context, p Producer) error

	// Known returns producers of after.Principal that are known, in the order of
	// [Producer.Compare]: those after the given one, at most limit.
	Known(ctx context.Context, after Producer, limit int) ([]KnownProducer, error)
}

// Cursors are the saved positions of readers.
type Cursors interface {
	// ClaimCursor makes the caller the only one who commits c, and makes the
	// cursor, durably, where there is none. The error is ErrStale where the
	// claim that it would fence has a higher attempt and r has one, too; a
	// *LimitError; ErrPosition, wrapped, where a new cursor can't begin at
	// r.From; ErrUnavailable, wrapped; or the cause of ctx. None of them changes
	// anything.
	//
	// A claim lasts until the next one, until Release, Reset or Forget, or until
	// the server that made it is gone.
	ClaimCursor(ctx context.Context, c CursorName, r CursorRequest) (CursorClaim, error)

	// Commit saves a position durably. A position below the saved one changes
	// nothing. The error is ErrFenced where epoch is not that of the claim that
	// lasts; ErrPosition, wrapped, where p is not of this store or beyond its
	// head; ErrUnavailable, wrapped; or the cause of ctx.
	Commit(ctx context.Context, c CursorName, epoch uint64, p Position) error

	// ReleaseCursor ends the claim with that epoch, if it lasts.
	ReleaseCursor(c CursorName, epoch uint64)

	// Cursor returns a saved position, and whether there is one.
	Cursor(ctx context.Context, c CursorName) (Position, bool, error)

	// Reset saves a position durably, for an operator: it may go back. It ends
	// the claim that lasts, and makes the cursor where there is none.
	Reset(ctx context.Context, c CursorName, p Position) error

	// ForgetCursor makes c unknown, durably, and ends the claim that lasts.
	ForgetCursor(ctx context.Context, c CursorName) error

	// Cursors returns all saved positions, in the order of their names.
	Cursors(ctx context.Context) ([]SavedCursor, error)
}

// Window is how many of a producer's last numbers keep their rejections.
const Window = 65536

// A Result answers for one block of an append.
type Result struct {
	Position Position // of the block's first record, where Err is nil
	Err      error
}

// ReadOptions say what a read yields. The zero value means all there is.
type ReadOptions struct {
	// Topics names topics to read: "orders.eu", all below one as "orders.*", or
	// "*" for all that don't begin with "_". None means all topics.
	Topics []string

	// Producer reads the records that took numbers of one producer. The zero
	// value means those of all, and of none.
	Producer Producer

	// Follow waits at the head for more, until ctx ends.
	Follow bool

	// Progress is how long a reader that follows waits before a batch without
	// a block. Zero means 5 s. A reader that finds nothing for so long while it
	// looks for blocks yields one, too.
	Progress time.Duration

	// Room bounds the memory of the read. Nil means that nothing does.
	Room Room
}

// A Room gives a read the memory that blocks are read into and decoded in. It
// belongs to the goroutine that reads.
type Room interface {
	// Need waits until the read may have so many bytes in all, which it can't
	// go on without. It is called before they are taken, without anything
	// locked. The error ends the read.
	Need(ctx context.Context, bytes int64) error

	// Want is Need for memory that the read can do without. It reports whether
	// the read may have it, which is always so where that is less than before. It
	// does not wait for memory.
	Want(ctx context.Context, bytes int64) bool
}

// A ReadBatch is what a read yields: a block, or progress.
type ReadBatch struct {
	// At is the position of the first record that is to be read: where the read
	// began within the block, those before At.Index were read before.
	At Position

	// Next is where the batch ends: to come back there is to miss nothing and
	// to read nothing twice.
	Next Position

	// Time is when the store took the block. It never goes back within one
	// read.
	Time time.Time

	// Block is nil where the batch is progress. It must not be changed.
	Block *Block
}

// A TopicStat says what a topic holds. Blocks, records and bytes may be
// estimates.
type TopicStat struct {
	Name    string
	Blocks  uint64
	Records uint64
	Bytes   uint64 // of the records, as they were received

	// First is the position of the first block, and Next that behind the last.
	// Where there is none, they are equal.
	First, Next Position

	// Oldest and Newest are when the store took the first and the last block.
	Oldest, Newest time.Time
}
