package dialect

import (
	"context"
	"fmt"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

// Filters starts filters: expressions of peers, each of which decides what one reader is
// given. Any number of goroutines may use it.
type Filters interface {
	// Start starts a filter for an owner, who may have some at once. It ends with ctx at
	// the latest. The error is an *[ExpressionError], or an *[fault.Error] for the peer.
	Start(ctx context.Context, owner, expression string) (Filter, error)
}

// A Filter makes of each record what an expression says: nothing, the record itself, other
// dictionaries, or other values. Send and Receive may be used at once, each by one
// goroutine; Close by any, and more than once.
type Filter interface {
	// Send gives it records of a format, one after the other in data. It may wait until
	// Receive has taken what was made of those before.
	Send(format string, lengths []uint32, data []byte) error

	// Receive waits for what is made of the next record, which is valid until the next
	// call. After an error, which is an *[fault.Error], there is no more.
	Receive() (Filtered, error)

	// Close ends the filter, and with it Send and Receive.
	Close()
}

// Filtered is what a filter makes of a record.
type Filtered struct {
	Results []Result
	Failed  string // why the expression fails for the record, of which there are no results; "": it does not
}

// A Result is one thing that a filter makes of a record.
type Result struct {
	Kind ResultKind
	JSON []byte // of what was made; nil where it is the record
}

// A ResultKind tells what a result is.
type ResultKind uint8

// The kinds of results.
const (
	Selected   ResultKind = iota // the record itself, as it is stored
	Dictionary                   // another dictionary
	Scalar                       // any other value: a list, too
)

// Filtering is how a reader is given what a filter makes of records. Dictionaries come in
// the reader's first form.
type Filtering struct {
	Filter Filter

	// Value appends a value that is no dictionary, made of the record of an index of a
	// block.
	Value func(dst []byte, b *store.ReadBatch, index uint32, v dict.Value) ([]byte, error)

	// Failed appends what is given in the place of a record for which the expression
	// fails, if anything is, or returns an error that ends the reading.
	Failed func(dst []byte, b *store.ReadBatch, index uint32, why string) ([]byte, error)
}

// An ExpressionError says why an expression can't be used.
type ExpressionError struct {
	Text   string
	Offset int // how many bytes of the expression were read when it was found; negative: not known
}

func (e *ExpressionError) Error() string {
	if e.Offset < 0 {
		return e.Text
	}
	return fmt.Sprintf("%s, at byte %d", e.Text, e.Offset)
}
