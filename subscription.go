package dictwire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/rejection"
	"github.com/dictwire/dictwire/store"
)

// A SubscribeRequest says what is read, and from where.
type SubscribeRequest struct {
	// Topics are topics, or all below one: "orders.*". Nil means all but those that begin
	// with "_".
	Topics []string

	// Cursor names a position that the server keeps for Topics, as they are written, where
	// reading begins. Of those who read with one name, the newest goes on, and the others
	// get ErrFenced. "" means that nothing is kept.
	Cursor string

	// From is where reading begins without a cursor, or with a new one: "earliest" or "",
	// "latest", a position, a time of RFC 3339, or an age such as "10m".
	From string

	Follow bool                 // wait for more records at the end
	Codec  codec.Codec          // the format of records; nil: as they are stored, in JSON, CBOR or MessagePack
	Lossy  bool                 // replace what Codec can't hold, in place of an error
	Filter func(*Received) bool // nil, or which records are kept; called by the loop

	// Reuse makes what a batch holds, its dictionaries included, valid only until the next
	// step of the loop. It saves garbage.
	Reuse bool
}

// A Subscription reads records: at least once each, in the order of the store. A
// connection that breaks is made again, and no record comes twice because of that.
//
//	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders.*"}, Cursor: "billing", Follow: true})
//	defer sub.Close()
//	for r, err := range sub.Records(ctx) {
//		…
//		err = sub.Commit(ctx, r.Next())
//	}
//
// One loop runs at a time; after one that was left, another goes on after what came last.
// Commit, Reject and Close may be called by any goroutine.
type Subscription struct {
	client *client.Client
	core   *client.Subscriber
	req    SubscribeRequest
	rest   *Batch // what a loop of Records has left
}

// Subscription begins to read. It ends with its Close, or with the client.
func (c *Client) Subscription(req SubscribeRequest) *Subscription {
	return &Subscription{client: c.core, req: req, core: c.core.Subscribe(client.Request{
		Topics: req.Topics, Cursor: req.Cursor, From: req.From, Follow: req.Follow, Codec: req.Codec, Lossy: req.Lossy,
	})}
}

// Subscribe is [Subscription.Batches] of a subscription for one loop.
func (c *Client) Subscribe(ctx context.Context, req SubscribeRequest) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		s := c.Subscription(req)
		defer func() { _ = s.Close() }() // the loop has said what went wrong
		s.Batches(ctx)(yield)
	}
}

// Batches yields what comes. The loop ends after the last record, unless the request
// follows, or with an error beside nil. A *[SkippedError] and a *[DamagedError] come
// beside a batch without records, and reading continues after them.
func (s *Subscription) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		for {
			b, err := s.next(ctx)
			if err == io.EOF || !yield(b, err) || b == nil {
				return
			}
			s.release(b)
		}
	}
}

// Records yields what comes, one by one, as Batches does. Errors come beside nil.
func (s *Subscription) Records(ctx context.Context) iter.Seq2[*Received, error] {
	return func(yield func(*Received, error) bool) {
		for b, err := range s.Batches(ctx) {
			if err != nil && !yield(nil, err) || b == nil {
				return
			}
			for i := range b.Records {
				if !yield(b.received(i), nil) {
					s.rest = b.after(i)
					return
				}
			}
		}
	}
}

// next returns the next batch, filtered.
func (s *Subscription) next(ctx context.Context) (*Batch, error) {
	if b := s.rest; b != nil {
		s.rest = nil
		return b, nil
	}
	core, err := s.core.Next(ctx)
	if err != nil {
		return nil, err
	}
	b := &Batch{
		At: core.At, Next: core.Next, Topic: core.Topic, Principal: cmp.Or(Principal(core.Principal), Anonymous), Producer: core.Producer, First: core.First, Time: core.Time,
		Codec: core.Codec, Records: core.Records, limits: s.client.Limits(), sub: s, core: core,
	}
	if s.req.Filter != nil {
		b.filter(s.req.Filter)
	}
	return b, missing(core.Gap)
}

// release gives the memory of a batch back, where that is asked for.
func (s *Subscription) release(b *Batch) {
	if s.req.Reuse {
		b.Records = nil
		s.core.Recycle(b.core)
	}
}

// Commit moves the cursor to a position, as [Batch.Next] or [Received.Next] has it, and
// returns when that is durable. A cursor never goes back.
func (s *Subscription) Commit(ctx context.Context, position string) error {
	return s.core.Commit(ctx, position)
}

// Reject keeps a record that the reader can't use in the topic "_rejected", once for a
// reason, and returns when it is durable there. It does not move the cursor.
func (s *Subscription) Reject(ctx context.Context, r *Received, reason string) error {
	row := rejection.Of(r.Bytes)
	row.Code, row.Text, row.Dialect, row.Format = fault.Handler, reason, "reader", r.Codec.Name()
	row.Topic, row.Position, row.Principal, row.Producer, row.Number = r.Topic, r.Position(), r.Principal.named(), r.Producer, r.Number
	if err := s.core.Reject(ctx, row); err != nil {
		return fmt.Errorf("dictwire: reject: %w", err)
	}
	return nil
}

// Close ends reading. Loops, and calls that wait, end with an error.
func (s *Subscription) Close() error {
	s.core.Close(errors.New("dictwire: the subscription is closed"))
	return nil
}

// A Batch is records that were stored together, or none: then it says that there is
// nothing else before Next. The first of a subscription says where reading begins.
type Batch struct {
	At, Next  string // positions: of the first record; after the last, which is to be committed
	Topic     string
	Principal Principal // who sent them
	Producer  string    // "" where they have no numbers
	First     uint64    // the number of the first one
	Time      time.Time // when the server took them
	Codec     codec.Codec
	Records   [][]byte

	limits codec.Limits
	sub    *Subscription
	core   *client.Batch
	index  []uint32 // of each record, counted from At; nil: 0, 1, 2, …
}

// Dict decodes a record. The dictionary refers to the batch's memory.
func (b *Batch) Dict(i int) (*dict.Dict, error) { return b.Codec.Decode(b.Records[i], b.limits) }

// All decodes all records, up to the first error.
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

// Position returns the position of a record, which is its own, always the same, and
// where a reader begins whose first record it is to be.
func (b *Batch) Position(i int) string { return client.Advance(b.At, b.offset(i)) }

// EventTime returns when the event happened that a record tells of, where its sender said
// so beside the record, as Fluent Forward does; else the zero time.
func (b *Batch) EventTime(i int) time.Time {
	if n := int(b.offset(i)); n < len(b.core.Times) && b.core.Times[n] != store.UnknownTime {
		return time.Unix(0, b.core.Times[n]).UTC()
	}
	return time.Time{}
}

// offset returns how far after At a record lies.
func (b *Batch) offset(i int) uint32 {
	if b.index != nil {
		return b.index[i]
	}
	return uint32(i)
}

// Truncate leaves out the records from n on: Next is then the position of that one.
func (b *Batch) Truncate(n int) {
	if n < len(b.Records) {
		b.Next, b.Records = b.Position(n), b.Records[:n]
	}
}

// after returns the records after record i, which share the batch's memory.
func (b *Batch) after(i int) *Batch {
	rest := *b
	if i+1 == len(b.Records) {
		rest.Records = nil
		return &rest
	}
	rest.Records = b.Records[i+1:]
	if b.index != nil {
		rest.index = slices.Clone(b.index[i+1:])
	}
	rest.startAt(b.offset(i + 1))
	return &rest
}

// startAt makes At and First those of the record that lies so far after At.
func (b *Batch) startAt(offset uint32) {
	b.At = client.Advance(b.At, offset)
	if b.First > 0 {
		b.First += uint64(offset)
	}
	for i := range b.index {
		b.index[i] -= offset
	}
}

// filter leaves out the records that keep refuses.
func (b *Batch) filter(keep func(*Received) bool) {
	records, index := make([][]byte, 0, len(b.Records)), make([]uint32, 0, len(b.Records))
	for i, record := range b.Records {
		if keep(b.received(i)) {
			records, index = append(records, record), append(index, uint32(i))
		}
	}
	b.Records, b.index = records, index
	if len(records) > 0 {
		b.startAt(index[0])
	}
}

// Commit moves the cursor to Next: see [Subscription.Commit].
func (b *Batch) Commit(ctx context.Context) error {
	if b.sub == nil {
		return errors.New("dictwire: commit: the batch is of no subscription")
	}
	return b.sub.Commit(ctx, b.Next)
}

// received returns record i.
func (b *Batch) received(i int) *Received {
	r := &Received{
		Record: Record{Codec: b.Codec, Bytes: b.Records[i]}, Topic: b.Topic, Principal: b.Principal,
		Producer: b.Producer, Time: b.Time,
		limits: b.limits, at: b.At, offset: b.offset(i),
	}
	if i+1 == len(b.Records) {
		r.next = b.Next
	}
	if b.First > 0 {
		r.Number = b.First + uint64(r.offset)
	}
	return r
}

// A Received is a record that was read. Its fields are those of a [Batch].
type Received struct {
	Record
	Topic     string
	Principal Principal
	Producer  string
	Number    uint64
	Time      time.Time

	limits codec.Limits
	at     string
	offset uint32
	next   string // "": the position after its own
}

// Dict decodes the record.
func (r *Received) Dict() (*dict.Dict, error) { return r.Codec.Decode(r.Bytes, r.limits) }

// Position returns the record's position.
func (r *Received) Position() string { return client.Advance(r.at, r.offset) }

// Next returns the position after the record: what to commit when it is done.
func (r *Received) Next() string {
	if r.next != "" {
		return r.next
	}
	return client.Advance(r.at, r.offset+1)
}

// A SkippedError says that records were trimmed before they were read.
type SkippedError struct{ From, To, Topic string }

func (e *SkippedError) Error() string {
	return fmt.Sprintf("dictwire: records of topic %s between %s and %s were trimmed before they were read", e.Topic, e.From, e.To)
}

// A DamagedError says that records can't be read any more, and what is wrong. Topic may
// be "".
type DamagedError struct{ From, To, Topic, Text string }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("dictwire: records between %s and %s can't be read: %s", e.From, e.To, e.Text)
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
