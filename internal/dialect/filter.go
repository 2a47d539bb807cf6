package dialect

import (
	"context"
	"fmt"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

// Filters starts filters: expressions of peers, each of which decides what one reader gets.
// Any number of goroutines may use it.
type Filters interface {
	// Start starts a filter for an owner, who may have some at once. It ends with ctx at
	// the latest. The error is an *[ExpressionError], or an *[fault.Error] for the peer.
	Start(ctx context.Context, owner, expression string) (Filter, error)
}

// A Filter evaluates an expression for each record. The results are nothing, the record
// itself, other dictionaries, or other values. Send and Receive may be called concurrently,
// each from one goroutine, and Close from any goroutine and more than once.
type Filter interface {
	// Send passes records of a format to the filter, one after another in data. It may wait
	// until Receive has returned the results of earlier ones.
	Send(format string, lengths []uint32, data []byte) error

	// Receive waits for the results of the next record, which are valid until the next
	// call. After an error, which is an *[fault.Error], there are no more.
	Receive() (Filtered, error)

	// Close ends the filter, and with it Send and Receive.
	Close()
}

// Filtered is the results of a filter for a record.
type Filtered struct {
	Results []Result
	Failed  string // why the expression failed for the record, which then has no results; or ""
}

// A Result is one result of a filter for a record.
type Result struct {
	Kind ResultKind
	JSON []byte // nil if the result is the record itself
}

// A ResultKind is the kind of a result.
type ResultKind uint8

// The kinds of results.
const (
	Selected   ResultKind = iota // the record itself, as it is stored
	Dictionary                   // another dictionary
	Scalar                       // any other value: a list, too
)

// Filtering describes how a reader gets the results of a filter. Dictionaries are in the
// reader's first form.
type Filtering struct {
	Filter Filter

	// Value appends a result that is not a dictionary, for the record at an index of a
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
