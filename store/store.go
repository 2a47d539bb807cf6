package store

import (
	"context"
	"iter"
	"time"
)

// A Store is a [Log] of records, the [Producers] that write it and the [Cursors] that
// read it. Any number of goroutines may use it at once.
//
// Several servers may share a store, each through a Store of its own. What one of them
// has acknowledged is visible to its own readers at once, and to readers of the others in
// time.
//
// No method reveals a write that is not durable yet: neither a read, nor a claim, nor an
// append with ErrDuplicate. Errors that stop a client for good (ErrStale, *LostError,
// ErrPosition) are returned only after the storage itself has confirmed them, never from
// what a server remembers.
type Store interface {
	Log
	Producers
	Cursors

	// Limits returns the store's present abilities.
	Limits() Limits

	// Ready returns nil if appends can work now. Otherwise the error wraps ErrUnavailable
	// and says why, or is the cause of ctx.
	Ready(ctx context.Context) error
}

// A Backuper is a [Store] that can be copied while it is in use.
type Backuper interface {
	// Backup makes a copy in dir, which must not exist. The copy holds everything that
	// was durable when Backup was called, and perhaps more. When it is opened, it gets
	// another tag, so that positions from after the copy are refused.
	Backup(ctx context.Context, dir string) error
}

// A Log is a sequence of blocks that all readers see in the same order.
type Log interface {
	// Append makes blocks durable and returns a result for each, in order. The error of a
	// result is
	//
	//   - nil: the block is stored at the position, as durably as Limits says;
	//   - ErrDuplicate: all of its numbers were durably stored before;
	//   - *SequenceError: it does not begin with the producer's next number, perhaps because a
	//     part of it was stored before;
	//   - ErrFenced: its epoch is not that of the producer's last claim;
	//   - *LimitError: it would create one name too many, or its principal has stored as much as
	//     it may;
	//   - ErrUnavailable, wrapped: the store can't write now;
	//   - any other error: the block breaks a rule of Block, or exceeds Limits, or ctx ended
	//     before the write began.
	//
	// After ErrUnavailable, the block may or may not be stored. Claiming the producer
	// again tells which. The same applies to an unexpected ErrDuplicate or
	// *SequenceError.
	//
	// All blocks of one producer are stored together, whatever their topics, or none is;
	// those with ErrDuplicate do not count. If one of them can't be stored, the others
	// get its error. A store may split a long append into parts, in order: then blocks before
	// such an error may be stored. Blocks of different producers, and unnumbered ones, are
	// independent. A block without a producer needs no claim.
	//
	// Append does not change the blocks. The caller may reuse them when it returns. Once
	// writing has begun, Append waits for its end, even if ctx ends.
	Append(ctx context.Context, blocks ...*Block) []Result

	// Read yields batches in order, beginning at a position. It yields a position only
	// when everything before it is durable. A batch without a block is progress:
	// everything before its Next has been read. Without Follow, Read ends at the head
	// with such a batch.
	//
	// Two errors come with a batch without a block, and reading continues after its Next:
	// *DamageError for what can't be read, and *TrimmedError for what was trimmed since
	// the reader was at from, unless from is the beginning. Any other error is the last:
	// ErrPosition, wrapped, if from is not a position of this store or beyond its head;
	// ErrUnavailable, wrapped, if the store is closed; or the cause of ctx.
	//
	// A batch is valid until the next step of the loop. A reader that pauses holds a
	// single batch and slows nobody down.
	Read(ctx context.Context, from Position, o ReadOptions) iter.Seq2[ReadBatch, error]

	// CheckPosition returns nil if p is the beginning, or a position of this store up to
	// its head, whichever server has written there. Otherwise the error wraps
	// ErrPosition; ErrUnavailable, if that can't be confirmed now; or is the cause of
	// ctx.
	CheckPosition(ctx context.Context, p Position) error

	// Seek returns the position of the first block stored at t or later, or the head.
	// Times are those of ReadBatch.Time.
	Seek(ctx context.Context, t time.Time) (Position, error)

	// Head returns the position after the last block that readers of this Store can see.
	Head(ctx context.Context) (Position, error)

	// Topics returns the topics that hold or held records and match a pattern, as in
	// [ReadOptions.Topics], in order of name. Without patterns it returns all. The cost
	// of looking up single topics does not depend on how many topics there are.
	Topics(ctx context.Context, patterns ...string) ([]TopicStat, error)

	// Backlog returns the approximate number of records that Read would yield for the
	// topics from a position on. It is zero only if there are none. The error is that of
	// CheckPosition.
	Backlog(ctx context.Context, from Position, topics []string) (records uint64, err error)

	// Trim deletes a topic's blocks before a position, durably. It deletes whole blocks
	// only, so the block that holds the position stays. Claims are not affected. The
	// error wraps ErrPosition if before is not a position of this store or beyond its
	// head, or ErrUnavailable; or is the cause of ctx.
	Trim(ctx context.Context, topic string, before Position) error
}

// Producers are the numbered logs that clients write.
type Producers interface {
	// Claim makes the caller the only writer of p, after appends of p in progress have
	// ended, under the rules of [ProducerState.Claim]. The error is ErrStale, a
	// *LostError or a *LimitError, which change nothing and fence nobody; wraps
	// ErrUnavailable; or is the cause of ctx.
	Claim(ctx context.Context, p Producer, r ClaimRequest) (Claim, error)

	// Release says that the claim's Fenced is no longer used, so that the store can
	// forget it. Nothing else changes.
	Release(p Producer, epoch uint64)

	// Rejections yields the rejections of p's numbers after the given one, in order. They
	// are kept for the last Window numbers, even if the records are trimmed. An error
	// ends the sequence.
	Rejections(ctx context.Context, p Producer, after uint64) iter.Seq2[Rejection, error]

	// Forget removes p, durably, and fences its writer. Its records stay.
	Forget(ctx context.Context, p Producer) error

	// Known returns up to limit known producers of after.Principal that follow after, in
	// the order of [Producer.Compare].
	Known(ctx context.Context, after Producer, limit int) ([]KnownProducer, error)
}

// Cursors are the saved positions of readers.
type Cursors interface {
	// ClaimCursor gives the caller the exclusive right to commit c. It creates the
	// cursor, durably, if it does not exist. The error is ErrStale if both claims have
	// attempts and the present one's is higher; a *LimitError; wraps ErrPosition, if a
	// new cursor can't begin at r.From, or ErrUnavailable; or is the cause of ctx. An
	// error changes nothing.
	//
	// A claim lasts until the next one, until Release, Reset or Forget, or until the
	// server that made it is gone.
	ClaimCursor(ctx context.Context, c CursorName, r CursorRequest) (CursorClaim, error)

	// Commit saves a position durably. A position before the saved one changes nothing.
	// The error is ErrFenced if epoch is not that of the present claim; wraps
	// ErrPosition, if p is not a position of this store or beyond its head, or
	// ErrUnavailable; or is the cause of ctx.
	Commit(ctx context.Context, c CursorName, epoch uint64, p Position) error

	// ReleaseCursor ends the claim with that epoch, if it is the present one.
	ReleaseCursor(c CursorName, epoch uint64)

	// Cursor returns a saved position, and whether the cursor exists.
	Cursor(ctx context.Context, c CursorName) (Position, bool, error)

	// Reset saves a position durably for an operator, even an earlier one. It ends the
	// present claim, and creates the cursor if it does not exist.
	Reset(ctx context.Context, c CursorName, p Position) error

	// ForgetCursor removes c, durably, and ends the present claim.
	ForgetCursor(ctx context.Context, c CursorName) error

	// Cursors returns all saved positions, in order of name.
	Cursors(ctx context.Context) ([]SavedCursor, error)
}

// Window is how many of a producer's last numbers keep their rejections.
const Window = 65536

// A Result is the result for one block of an append.
type Result struct {
	Position Position // of the block's first record, if Err is nil
	Err      error
}

// ReadOptions select what a read yields. The zero value selects everything stored so far.
type ReadOptions struct {
	// Topics are names of topics and patterns: "orders.eu", all below a topic as
	// "orders.*", or "*" for all that don't begin with "_". None means all topics.
	Topics []string

	// Producer selects the records of one producer. The zero value means no restriction.
	Producer Producer

	// Follow makes the read wait for more at the head, until ctx ends.
	Follow bool

	// Progress is how long a following reader waits at the head before it yields a batch
	// without a block. Zero means 5 s. A reader that searches for so long without finding
	// a block yields one, too.
	Progress time.Duration

	// Room limits the memory of the read. Nil means no limit.
	Room Room
}

// An Alerter is a [Store] that tells of appends without a Read that waits.
type Alerter interface {
	// Alert calls f whenever there may be something new at the head for readers of the
	// topics, as in [ReadOptions.Topics], until stop is called. f must not wait. It may be
	// called by any goroutine, and while stop is.
	Alert(topics []string, f func()) (stop func())
}

// A Submitter is a [Store] that can append without a goroutine that waits.
type Submitter interface {
	// Submit is Append, except that done is called with the results: once, by any
	// goroutine, perhaps before Submit returns. done must not wait, nor keep the results.
	// Submit waits for other calls with the same producers, and may write and sync what
	// other callers have submitted. A Store that embeds another one and has an Append of
	// its own needs a Submit of its own, too.
	Submit(ctx context.Context, done func([]Result), blocks ...*Block)
}

// A Room grants memory for reading and decoding blocks. It belongs to the goroutine that
// reads.
type Room interface {
	// Need waits until the read may hold a total of bytes, without which it can't go on.
	// It is called before the memory is allocated, with nothing locked. An error ends the
	// read.
	Need(ctx context.Context, bytes int64) error

	// Want is Need for memory that is not essential. It does not wait, and reports
	// whether the read may have the memory, which is always so for less than before.
	Want(ctx context.Context, bytes int64) bool
}

// A ReadBatch is what a read yields: a block, or progress.
type ReadBatch struct {
	// At is the position of the first record to read. If reading began within the block,
	// the records before At.Index were read before.
	At Position

	// Next is the position after the batch. Resuming there misses nothing and repeats
	// nothing.
	Next Position

	// Time is when the store accepted the block. It never decreases within one read.
	Time time.Time

	// Block is nil if the batch is progress. It must not be changed.
	Block *Block
}

// A TopicStat describes a topic. Blocks, records and bytes may be estimates.
type TopicStat struct {
	Name    string
	Blocks  uint64
	Records uint64
	Bytes   uint64 // of the records as received

	// First is the position of the first block, and Next the one after the last. They are
	// equal if there is no block.
	First, Next Position

	// Oldest and Newest are when the store accepted the first and the last block.
	Oldest, Newest time.Time
}
