package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/spool"

	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/store"
)

// An outbox presents a store as a [spool.Spool]. A record's number is counted from a record of
// its topic whose number is known:
//
//	trimmed    settled    in flight    counted    not looked at yet
//	────────┬──────────┬──────────────────────┬───────────────────▶ positions
//	      saved      done                   tail
//
// saved is durable, so that a restart finds the same numbers.
type outbox struct {
	added func(topic string, next uint64) error // tells the client what it can send

	store  store.Store
	ledger *ledger.Ledger
	logger *slog.Logger
	tag    string         // of the store
	from   store.Position // count has counted everything before it

	settled chan struct{} // of capacity 1: settled numbers must be saved

	mu     sync.Mutex
	topics map[string]*topic // guarded by mu
	broken error             // guarded by mu: why nothing more can be counted
}

// A place is a position in a topic, and the number of the record there or, at the end, of the
// next record.
type place struct {
	at     store.Position
	number uint64
}

// A span is records of one block: its first place, and the place after it.
type span struct{ from, next place }

// A topic is the state of one topic. It is guarded by outbox.mu.
type topic struct {
	name   string
	saved  place
	done   place // lower than acked+1 until record acked has been read
	tail   place
	flight []span // consecutive, from done on: read, and not settled
	acked  uint64
	sum    uint32 // of record acked
	stuck  bool   // records after tail can't be counted

	rejected uint64 // the last rejected record that was stored in _rejected
	unkept   uint64 // a rejected record that could not be stored, and so is not settled; or 0
}

const (
	own          = "_relay"   // the topic of the ledger
	noteSettled  = "settled"  // the kind of notes about settled numbers
	noteRejected = "rejected" // the kind of notes about the last rejected record

	saveEvery = time.Second
)

// open reads the state of the store's topics.
func open(ctx context.Context, s store.Store, prefix string, logger *slog.Logger) (*outbox, error) {
	o := &outbox{store: s, logger: logger, topics: map[string]*topic{}, settled: make(chan struct{}, 1)}
	head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	o.tag, o.from = head.Tag, head
	if o.ledger, err = ledger.Open(ctx, s, own, prefix, time.Now); err != nil {
		return nil, err
	}
	stats, err := s.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, stat := range stats {
		if strings.HasPrefix(stat.Name, "_") {
			continue
		}
		t, err := o.load(ctx, stat.Name, stat.First)
		if err != nil {
			return nil, err
		}
		if t.tail.at.Compare(stat.Next) < 0 && t.tail.at.Compare(o.from) < 0 {
			o.from = t.tail.at
		}
	}
	return o, o.count(ctx, false, func(string, uint64) error { return nil })
}

// load reads the state of a topic. If none of its records was ever settled, it begins with its
// first record.
func (o *outbox) load(ctx context.Context, name string, first store.Position) (*topic, error) {
	t := &topic{name: name, saved: place{first, 1}}
	note, err := o.ledger.Note(ctx, noteSettled, name)
	if err == nil && note != nil {
		t.saved, t.sum, err = parseSettled(note, o.tag)
	}
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", name, err)
	}
	note, err = o.ledger.Note(ctx, noteRejected, name)
	if err == nil && note != nil {
		t.rejected, err = parseRejected(note)
	}
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", name, err)
	}
	t.done, t.tail, t.acked = t.saved, t.saved, t.saved.number-1
	o.mu.Lock()
	defer o.mu.Unlock()
	o.topics[name] = t
	return t, nil
}

// topic returns a topic, or nil if it is unknown.
func (o *outbox) topic(name string) *topic {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.topics[name]
}

// count counts the records of all topics from o.from on, and tells the client about new ones.
func (o *outbox) count(ctx context.Context, follow bool, more func(topic string, next uint64) error) error {
	all := store.ReadOptions{Topics: []string{"*"}, Follow: follow, Progress: time.Hour}
	for b, err := range o.store.Read(ctx, o.from, all) {
		if err != nil && !o.gap(err) {
			return err
		}
		o.from = b.Next
		if b.Block == nil {
			continue
		}
		t := o.topic(b.Block.Topic)
		if t == nil {
			if t, err = o.load(ctx, b.Block.Topic, b.At); err != nil {
				return err
			}
		}
		if err := more(t.name, o.pass(t, b)); err != nil {
			return err
		}
	}
	return nil
}

// pass counts a block, unless a reader of its topic has counted it already. It returns the number
// after the last one that is counted.
func (o *outbox) pass(t *topic, b store.ReadBatch) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !t.stuck && o.broken == nil && b.Next.Compare(t.tail.at) > 0 {
		n := len(b.Block.Lengths)
		if b.At.Block == t.tail.at.Block {
			n -= int(t.tail.at.Index)
		}
		t.tail = place{b.Next, t.tail.number + uint64(n)}
	}
	return t.tail.number
}

// gap handles records that are trimmed or damaged, after which the numbers of records are
// unknown. It reports whether err is such an error.
func (o *outbox) gap(err error) bool {
	var (
		damage  *store.DamageError
		trimmed *store.TrimmedError
		t       *topic
		to      store.Position
	)
	switch {
	case errors.As(err, &damage) && damage.Topic == "":
		o.mu.Lock()
		o.broken = err
		o.mu.Unlock()
		o.logger.Error("what is stored from now on is not passed on", "error", err)
		return true
	case errors.As(err, &damage):
		t, to = o.topic(damage.Topic), damage.To
	case errors.As(err, &trimmed):
		t, to = o.topic(trimmed.Topic), trimmed.To
	default:
		return false
	}
	if t != nil && o.stick(t, to) {
		o.logger.Error("the rest of a topic is not passed on", "topic", t.name, "error", err)
	}
	return true
}

// stick marks a topic whose records after a position can't be counted. It reports whether that
// was not known before.
func (o *outbox) stick(t *topic, to store.Position) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	news := !t.stuck && t.tail.at.Compare(to) < 0
	t.stuck = t.stuck || news
	return news
}

// Notify implements [spool.Notifier].
func (o *outbox) Notify(added func(topic string, next uint64) error) { o.added = added }

// Producer implements [spool.Spool].
func (o *outbox) Producer() string { return o.ledger.Name() }

// Attempt implements [spool.Spool].
func (o *outbox) Attempt(ctx context.Context) (uint64, error) { return o.ledger.Attempt(ctx) }

// Append implements [spool.Spool].
func (o *outbox) Append(context.Context, string, string, ...[]byte) (uint64, error) {
	return 0, errors.New("relay: records come by way of the store")
}

// Topics implements [spool.Spool].
func (o *outbox) Topics(context.Context) ([]spool.Topic, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]spool.Topic, 0, len(o.topics))
	for _, t := range o.topics {
		all = append(all, spool.Topic{
			Topic: t.name, First: t.done.number, Next: t.tail.number, Acked: t.acked, Sum: t.sum,
		})
	}
	slices.SortFunc(all, func(a, b spool.Topic) int { return strings.Compare(a.Topic, b.Topic) })
	return all, nil
}

func (o *outbox) pending() (n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.topics {
		n += t.tail.number - min(t.tail.number, t.acked+1)
	}
	return n
}

// Read implements [spool.Spool].
func (o *outbox) Read(ctx context.Context, name string, from uint64) iter.Seq2[spool.Batch, error] {
	return func(yield func(spool.Batch, error) bool) {
		t := o.topic(name)
		if t == nil {
			yield(spool.Batch{}, fmt.Errorf("relay: there is no topic %s", name))
			return
		}
		err := o.read(ctx, t, from, func(b spool.Batch) bool { return yield(b, nil) })
		if err != nil {
			yield(spool.Batch{}, fmt.Errorf("relay: %w", err))
		}
	}
}

func (o *outbox) read(ctx context.Context, t *topic, from uint64, yield func(spool.Batch) bool) error {
	at := o.begin(t, from)
	var records [][]byte
	for b, err := range o.store.Read(ctx, at.at, store.ReadOptions{Topics: []string{t.name}, Follow: true, Progress: time.Hour}) {
		if err != nil {
			o.gap(err)
			return err
		}
		if b.Block == nil {
			continue
		}
		sp := span{from: place{b.At, at.number}}
		sp.next = place{b.Next, at.number + uint64(len(b.Block.Lengths)) - uint64(b.At.Index)}
		at = sp.next
		o.fly(t, sp)
		if sp.next.number <= from {
			continue
		}
		first := max(from, sp.from.number)
		records = records[:0]
		for _, r := range b.Block.Records(b.At.Index + uint32(first-sp.from.number)) {
			records = append(records, r)
		}
		if !yield(spool.Batch{First: first, Format: b.Block.Codec, Records: records}) {
			return nil
		}
	}
	return nil
}

// begin returns the last known place whose number is at most number.
func (o *outbox) begin(t *topic, number uint64) place {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := t.done
	for _, sp := range t.flight {
		if sp.from.number > number {
			break
		}
		at = sp.from
	}
	return at
}

// fly adds a span that was read to the flight.
func (o *outbox) fly(t *topic, sp span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.tail.at.Compare(sp.next.at) < 0 {
		t.tail = sp.next
	}
	last := t.done
	if n := len(t.flight); n > 0 {
		last = t.flight[n-1].next
	}
	if sp.next.number > last.number {
		t.flight = append(t.flight, sp)
		t.land()
	}
}

// land moves done over the settled part of the flight. The outbox's mu is held.
func (t *topic) land() {
	for len(t.flight) > 0 && t.flight[0].next.number <= t.acked+1 {
		t.done = t.flight[0].next
		t.flight = t.flight[1:]
	}
	if len(t.flight) > 0 && t.flight[0].from.number <= t.acked {
		t.done = t.flight[0].from
		t.done.at.Index += uint32(t.acked + 1 - t.done.number)
		t.done.number = t.acked + 1
	}
}

// Settle implements [spool.Spool].
func (o *outbox) Settle(_ context.Context, name string, number uint64, sum uint32) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.topics[name]
	if t == nil || number >= t.tail.number {
		return fmt.Errorf("relay: settle %s to %d, which it does not have", name, number)
	}
	if number <= t.acked || t.unkept != 0 && number >= t.unkept {
		return nil
	}
	t.acked, t.sum = number, sum
	t.land()
	select {
	case o.settled <- struct{}{}:
	default:
	}
	return nil
}

// keep saves settled numbers until ctx ends.
func (o *outbox) keep(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-o.settled:
		case <-ctx.Done():
			return
		}
		if err := o.save(ctx); err != nil && ctx.Err() == nil {
			o.logger.Error("what is settled can't be saved", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// save makes settled numbers durable, and then trims the records.
func (o *outbox) save(ctx context.Context) error {
	var (
		all   []*topic
		done  []place
		notes []ledger.Note
	)
	o.mu.Lock()
	for _, t := range o.topics {
		if t.done.number > t.saved.number && t.done.number == t.acked+1 {
			all, done = append(all, t), append(done, t.done)
			notes = append(notes, ledger.Note{Kind: noteSettled, Topic: t.name, Text: appendSettled(nil, t.done, t.sum)})
		}
	}
	o.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	if err := o.ledger.Save(ctx, notes...); err != nil {
		return err
	}
	var errs []error
	for i, t := range all {
		o.mu.Lock()
		t.saved = done[i]
		o.mu.Unlock()
		errs = append(errs, o.store.Trim(ctx, t.name, done[i].at))
	}
	return errors.Join(errs...)
}

var errNote = errors.New("a note that this version does not know")

const settledSize = 8 + 4 + 8 + crc32.Size

// appendSettled appends a note: a place, and the checksum of the record before it.
func appendSettled(dst []byte, p place, sum uint32) []byte {
	dst = binary.BigEndian.AppendUint64(dst, p.at.Block)
	dst = binary.BigEndian.AppendUint32(dst, p.at.Index)
	dst = binary.BigEndian.AppendUint64(dst, p.number)
	return binary.BigEndian.AppendUint32(dst, sum)
}

// parseSettled is the inverse of appendSettled.
func parseSettled(note []byte, tag string) (p place, sum uint32, err error) {
	if len(note) != settledSize {
		return p, 0, errNote
	}
	p.at = store.Position{Tag: tag, Block: binary.BigEndian.Uint64(note), Index: binary.BigEndian.Uint32(note[8:])}
	p.number = binary.BigEndian.Uint64(note[12:])
	return p, binary.BigEndian.Uint32(note[20:]), nil
}
