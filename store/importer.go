package store

import (
	"context"
	"errors"
	"iter"
)

// ErrHalf is what a driver's Open wraps for a store that is to be a copy of another one
// and is not complete: see [Importer].
var ErrHalf = errors.New("store: a copy of another store that is not complete")

// A Census is a [Store] that lists all its producers.
type Census interface {
	// Saved yields all producers that are known, of all principals, in no order. An error
	// is the last that is yielded.
	Saved(ctx context.Context) iter.Seq2[SavedProducer, error]
}

// A SavedProducer is a producer that is known, and where it stands.
type SavedProducer struct {
	Producer
	ProducerState
}

// An Importer is a [Store] that can become a copy of another one, step by step. While it
// is half a copy, a driver's Open refuses it with [ErrHalf] unless it is told that the
// copy goes on.
type Importer interface {
	// Imported returns how far the copy is, confirmed: what the last Import said. It is
	// the zero value where there was none.
	Imported(ctx context.Context) (Copied, error)

	// Import adds to the copy, which is then as far as to says. Was is how far it is: the
	// error is ErrFenced, which changes nothing, where that is not so, since another one
	// copies, too. Else it is ErrUnavailable, wrapped; the cause of ctx; or another one
	// for what the store can't hold. After an error Imported tells how far the copy is.
	//
	// Each block is stored in one step with its batch's Next, so that it is stored once,
	// whatever happens: after an error, the first of them may be stored, and Imported
	// says which. To.Next is that of the last one. Where there are both, blocks come
	// before the rest.
	//
	// Producers and cursors take the place of those that are there. After an error some
	// of them may be there though Imported does not say so: they are imported again.
	Import(ctx context.Context, was, to Copied, what Import) error
}

// Copied says how far a copy is. The zero value is a store that is none.
type Copied struct {
	Source   string   // the tag of the store that is copied
	Next     Position // of the source: all blocks before it are there
	Complete bool
}

// An Import is what of another store is taken into a copy.
type Import struct {
	// Blocks are stored as they are. Their numbers are compared with nothing and make no
	// producer known. Each is as the source's Read yielded it; readers of the copy are
	// told its Time where the driver can.
	Blocks []ReadBatch

	// Producers become known. Their epochs are not taken: nobody has claimed them.
	Producers []ImportedProducer

	// Cursors are saved at positions of the copy. Nobody has claimed them.
	Cursors []SavedCursor
}

// An ImportedProducer is a producer that is taken into a copy.
type ImportedProducer struct {
	SavedProducer
	Rejected []Rejection // those of its last Window numbers, in order
}
