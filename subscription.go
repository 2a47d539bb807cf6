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
	Topics []string             // "orders", or "orders.*" for all below one; nil: all without "_" in front
	From   string               // "earliest" or "", "latest", a position, a time of RFC 3339, or an age such as "10m"
	Follow bool                 // wait for more records at the end
	Codec  codec.Codec          // of the records; nil: as they are stored, in JSON, CBOR or MessagePack
	Lossy  bool                 // replace what Codec can't hold, instead of an error
	Filter func(*Received) bool // selects records; called by the loop; nil: all
	Reuse  bool                 // reuse a batch's memory, its dictionaries' too, in the loop's next step: less garbage

	// Cursor names a position that the server keeps for Topics, as they are written, where
	// reading begins, once committed. Its newest reader fences others, with ErrFenced.
	Cursor string
}

// A Subscription reads each record at least once, in the order of the store. A broken
// connection repeats no records. One loop may run at a time, and the next one continues it.
// Other methods may be called concurrently.
type Subscription struct {
	client *client.Client
	core   *client.Subscriber
	req    SubscribeRequest
	rest   *Batch // the records of a batch after the one at which a loop of Records was left
}

// Subscription starts reading. It must be closed, or ends with the client.
func (c *Client) Subscription(req SubscribeRequest) *Subscription {
	return &Subscription{client: c.core, req: req, core: c.core.Subscribe(client.Request{
		Topics: req.Topics, Cursor: req.Cursor, From: req.From, Follow: req.Follow, Codec: req.Codec, Lossy: req.Lossy,
	})}
}

// Subscribe is the short form of [Subscription.Batches], for one loop.
func (c *Client) Subscribe(ctx context.Context, req SubscribeRequest) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		s := c.Subscription(req)
		defer func() { _ = s.Close() }() // the loop has said what went wrong
		s.Batches(ctx)(yield)
	}
}

// Batches ends after the last record, unless Follow is set, or with nil and an error. It
// continues after a *[GapError], which comes with an empty batch.
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

// Records is Batches record by record. It yields errors with nil.
func (s *Subscription) Records(ctx context.Context) iter.Seq2[*Received, error] {
	return func(yield func(*Received, error) bool) {
		for b, err := range s.Batches(ctx) {
			if err != nil && !yield(nil, err) || b == nil {
				return
			}
			for i := range b.Records {
				if !yield(b.Record(i), nil) {
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
		At: core.At, Next: core.Next, Topic: core.Topic, Principal: cmp.Or(core.Principal, store.Anonymous), Producer: core.Producer, First: core.First, Time: core.Time,
		Codec: core.Codec, Records: core.Records, times: core.Times, limits: s.client.Limits(), sub: s, core: core,
	}
	if s.req.Filter != nil {
		b.filter(s.req.Filter)
	}
	if core.Gap != nil {
		gap := GapError(*core.Gap)
		return b, &gap
	}
	return b, nil
}

// release gives back the memory of a batch, if Reuse is set.
func (s *Subscription) release(b *Batch) {
	if s.req.Reuse {
		b.Records = nil
		s.core.Recycle(b.core)
	}
}

// Commit moves the cursor forward to Batch.Next or Received.Next, durably.
func (s *Subscription) Commit(ctx context.Context, position string) error {
	return s.core.Commit(ctx, position)
}

// Reject stores an unusable record in "_rejected", durably, once per reason.
func (s *Subscription) Reject(ctx context.Context, r *Received, reason string) error {
	row := rejection.Of(r.Bytes)
	row.Code, row.Text, row.Dialect, row.Format = fault.Handler, reason, "reader", r.Codec.Name()
	row.Topic, row.Position, row.Producer, row.Number = r.Topic, r.Position(), r.Producer, r.Number
	if r.Principal != store.Anonymous {
		row.Principal = r.Principal
	}
	if err := s.core.Reject(ctx, row); err != nil {
		return fmt.Errorf("dictwire: reject: %w", err)
	}
	return nil
}

// Close stops reading; loops and waiting calls end with an error.
func (s *Subscription) Close() error {
	s.core.Close(errors.New("dictwire: the subscription is closed"))
	return nil
}

// A Batch is records that were stored together. Without records, At is where reading begins,
// or there are no more records before Next.
type Batch struct {
	At, Next         string    // positions: of the first record; after the last, to be committed
	Topic, Principal string    // Principal is the sender
	Producer         string    // "" if the records have no numbers
	First            uint64    // the number of the first record
	Time             time.Time // when the server accepted them
	Codec            codec.Codec
	Records          [][]byte

	limits codec.Limits
	sub    *Subscription
	core   *client.Batch
	times  []int64  // of the events, counted from At, as in store.Block; nil: none is known
	index  []uint32 // of each record, counted from At; nil: 0, 1, 2, …
}

// All decodes the records, up to the first error.
func (b *Batch) All() iter.Seq2[*dict.Dict, error] {
	return func(yield func(*dict.Dict, error) bool) {
		for i := range b.Records {
			d, err := b.Codec.Decode(b.Records[i], b.limits)
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// offset returns the offset of a record from At.
func (b *Batch) offset(i int) uint32 {
	if b.index != nil {
		return b.index[i]
	}
	return uint32(i)
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

// startAt sets At and First to those of the record at an offset from At.
func (b *Batch) startAt(offset uint32) {
	b.At = client.Advance(b.At, offset)
	if b.First > 0 {
		b.First += uint64(offset)
	}
	if b.times != nil {
		b.times = b.times[offset:]
	}
	for i := range b.index {
		b.index[i] -= offset
	}
}

// filter removes the records for which keep returns false.
func (b *Batch) filter(keep func(*Received) bool) {
	records, index := make([][]byte, 0, len(b.Records)), make([]uint32, 0, len(b.Records))
	for i, record := range b.Records {
		if keep(b.Record(i)) {
			records, index = append(records, record), append(index, uint32(i))
		}
	}
	b.Records, b.index = records, index
	if len(records) > 0 {
		b.startAt(index[0])
	}
}

// Commit commits Next.
func (b *Batch) Commit(ctx context.Context) error {
	if b.sub == nil {
		return errors.New("dictwire: commit: the batch is of no subscription")
	}
	return b.sub.Commit(ctx, b.Next)
}

// Record returns record i, which shares the batch's memory.
func (b *Batch) Record(i int) *Received {
	offset := b.offset(i)
	r := &Received{
		Record: Record{Codec: b.Codec, Bytes: b.Records[i]}, Topic: b.Topic, Principal: b.Principal,
		Producer: b.Producer, Time: b.Time,
		limits: b.limits, at: b.At, offset: offset,
	}
	if b.times != nil && b.times[offset] != store.UnknownTime {
		r.EventTime = time.Unix(0, b.times[offset]).UTC()
	}
	if i+1 == len(b.Records) {
		r.next = b.Next
	}
	if b.First > 0 {
		r.Number = b.First + uint64(offset)
	}
	return r
}

// A Received is a record that was read. Its fields are those of a [Batch].
type Received struct {
	Record
	Topic, Principal, Producer string
	Number                     uint64
	Time, EventTime            time.Time // EventTime: if the sender sent one with the record, as in Fluent Forward; else zero

	limits codec.Limits
	at     string
	offset uint32
	next   string // "": the position after its own
}

// Dict decodes the record.
func (r *Received) Dict() (*dict.Dict, error) { return r.Codec.Decode(r.Bytes, r.limits) }

// Position returns the record's permanent position, where reading may begin.
func (r *Received) Position() string { return client.Advance(r.at, r.offset) }

// Next returns the position after the record, to be committed when it is done.
func (r *Received) Next() string {
	if r.next != "" {
		return r.next
	}
	return client.Advance(r.at, r.offset+1)
}

// A GapError is damaged or, if Text is "", trimmed records. Topic may be "".
type GapError struct{ From, To, Topic, Text string }

func (e *GapError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("dictwire: records of topic %s between %s and %s were trimmed before they were read", e.Topic, e.From, e.To)
	}
	return fmt.Sprintf("dictwire: records between %s and %s can't be read: %s", e.From, e.To, e.Text)
}
