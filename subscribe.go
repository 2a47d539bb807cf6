package dictwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/store"
)

// A SubscribeRequest says what is read, and from where.
type SubscribeRequest struct {
	// Topics are topics, or all below one: "orders.*". Nil means all but those
	// that begin with "_".
	Topics []string

	// Cursor is the name of a position that the server keeps for Topics, as they
	// are written: see [Batch.Commit]. Reading begins there. Of those who read
	// with one name, the newest goes on, and the others get ErrFenced. "" means
	// that nothing is kept.
	Cursor string

	// From is where reading begins if there is no cursor, or a new one:
	// "earliest", "latest", a position, a time of RFC 3339, or an age such as
	// "10m". "" means "earliest".
	From string

	// Follow waits for more records at the end.
	Follow bool

	// Codec is the format in which records come. Nil means as they are stored:
	// JSON, CBOR or MessagePack.
	Codec codec.Codec

	// Lossy replaces what Codec can't hold, in place of an error.
	Lossy bool
}

// A Batch is records that were stored together, or none: then it says that
// nothing else lies below Next. The first of a loop has none, and says where
// reading begins. It and what it holds are valid until the loop's
// next step; Next stays.
type Batch struct {
	At       string // the position of the first record
	Next     string // that after the last: what to commit, or to come back with
	Topic    string
	Producer string    // "" where the records have no numbers
	First    uint64    // the number of the first record
	Time     time.Time // when the server took them
	Codec    codec.Codec
	Records  [][]byte

	limits codec.Limits
	sub    *client.Subscriber
}

// Len returns the number of records.
func (b *Batch) Len() int { return len(b.Records) }

// Dict decodes a record. The dictionary refers to b: [dict.Dict.Clone] makes one
// that stays.
func (b *Batch) Dict(i int) (*dict.Dict, error) { return b.Codec.Decode(b.Records[i], b.limits) }

// All decodes all records, as Dict does. It ends with the first error.
func (b *Batch) All() iter.Seq2[*dict.Dict, error] {
	return func(yield func(*dict.Dict, error) bool) {
		for i := range b.Records {
			d, err := b.Dict(i)
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// Position returns the position of a record: where a reader begins whose first
// record it is to be. It is the same whenever the record is read, and no other
// record's.
func (b *Batch) Position(i int) string {
	p, err := store.ParsePosition(b.At)
	if err != nil {
		return ""
	}
	p.Index += uint32(i)
	return p.String()
}

// Truncate leaves out the records from n on: Next is the position of that one
// then, so that Commit moves the cursor to it.
func (b *Batch) Truncate(n int) {
	if n < len(b.Records) {
		b.Next, b.Records = b.Position(n), b.Records[:n]
	}
}

// Commit moves the cursor to b.Next and returns when that is durable. It may be
// called as long as the loop runs, by any goroutine, also for an earlier batch:
// a cursor never goes back.
func (b *Batch) Commit(ctx context.Context) error {
	if b.sub == nil {
		return errors.New("dictwire: commit: the batch is of no subscription")
	}
	return b.sub.Commit(ctx, b.Next)
}

// A SkippedError says that records were trimmed before they were read.
type SkippedError struct{ From, To, Topic string }

func (e *SkippedError) Error() string {
	return fmt.Sprintf("dictwire: records of topic %s between %s and %s were trimmed before they were read", e.Topic, e.From, e.To)
}

// A DamagedError says that records can't be read any more.
type DamagedError struct {
	From, To string
	Topic    string // "" where it is not known
	Text     string // what is wrong
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("dictwire: records between %s and %s can't be read: %s", e.From, e.To, e.Text)
}

// Subscribe reads records, at least once each and in the order of the store. The
// loop ends after the last record, unless the request follows, or with an error
// beside a nil batch. A connection that breaks is made again, and no record comes
// twice because of that.
//
// A *[SkippedError] and a *[DamagedError] come beside a batch without records, and
// reading continues after them. Who does not want that leaves the loop.
//
//	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"orders.*"}, Cursor: "billing", Follow: true}) {
//		if err != nil {
//			return err
//		}
//		for d, err := range b.All() {
//			…
//		}
//		if err := b.Commit(ctx); err != nil {
//			return err
//		}
//	}
func (c *Client) Subscribe(ctx context.Context, req SubscribeRequest) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		sub := c.core.Subscribe(client.Request(req))
		defer sub.Close(errors.New("dictwire: commit: the loop has ended"))
		for {
			core, err := sub.Next(ctx)
			switch {
			case err == io.EOF:
				return
			case err != nil:
				yield(nil, err)
				return
			}
			b := &Batch{
				At: core.At, Next: core.Next, Topic: core.Topic, Producer: core.Producer, First: core.First, Time: core.Time,
				Codec: core.Codec, Records: core.Records, limits: c.core.Limits(), sub: sub,
			}
			if !yield(b, missing(core.Gap)) {
				return
			}
			b.Records = nil
			sub.Recycle(core)
		}
	}
}

// missing is the error that says which records are missing, or nil.
func missing(g *client.Gap) error {
	switch {
	case g == nil:
		return nil
	case g.Trimmed:
		return &SkippedError{From: g.From, To: g.To, Topic: g.Topic}
	default:
		return &DamagedError{From: g.From, To: g.To, Topic: g.Topic, Text: g.Text}
	}
}
