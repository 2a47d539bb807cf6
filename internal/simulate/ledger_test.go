package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A ledger records what was sent, promised and told, and has the trace of everything.
type ledger struct {
	began time.Time

	mu      sync.Mutex
	lines   []string
	books   []*book
	lives   int       // how often the store was rolled back, wiped or replaced
	harmed  time.Time // the last time that happened
	foreign bool      // it was replaced by another store
	broken  error     // the first invariant that broke
}

func newLedger() *ledger { return &ledger{began: time.Now()} }

// A book is one log of a producer: the records of its numbers, and their outcomes as the
// writer was told. Its fields are guarded by the ledger's mutex.
type book struct {
	principal, topic, producer string
	writer                     string // the writer's name: two with one producer are twins

	sent     map[uint64]record
	acked    uint64            // the highest number that the writer considered settled
	rejected map[uint64]string // codes
	lost     []span            // what the writer was told was lost
	stopped  error             // why the writer gave up
}

// A record is what a number stands for.
type record struct {
	bytes []byte
	code  string // why it must be rejected; "" if it must be stored
	whole bool   // it is a complete dictionary
}

// is reports whether the store has the record as it should: for an invalid one, the part
// that had arrived when that was found.
func (r *record) is(data []byte) bool {
	if r.whole {
		return bytes.Equal(r.bytes, data)
	}
	return len(data) > 0 && bytes.HasPrefix(append(bytes.Clone(r.bytes), '\n'), data)
}

// A span is the numbers from the first to before the second.
type span struct{ from, to uint64 }

func (l *ledger) open(principal, topic, producer, writer string) *book {
	b := &book{principal: principal, topic: topic, producer: producer, writer: writer, sent: map[uint64]record{}, rejected: map[uint64]string{}}
	l.mu.Lock()
	l.books = append(l.books, b)
	l.mu.Unlock()
	return b
}

// say adds a line to the trace.
func (l *ledger) say(who, format string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayLocked(who, format, a...)
}

func (l *ledger) sayLocked(who, format string, a ...any) {
	l.lines = append(l.lines, fmt.Sprintf("%9.3fs %-10s %s", time.Since(l.began).Seconds(), who, fmt.Sprintf(format, a...)))
}

// fail records that an invariant broke.
func (l *ledger) fail(who, format string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayLocked(who, "BROKEN: "+format, a...)
	if l.broken == nil {
		l.broken = fmt.Errorf(who+": "+format, a...)
	}
}

func (l *ledger) verdict() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// trace returns the last lines of the trace.
func (l *ledger) trace() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	if n := len(lines) - 400; n > 0 {
		lines = lines[n:]
	}
	return strings.Join(lines, "\n")
}

func (l *ledger) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// A stored record is in the store, or was until it was trimmed.
type stored struct {
	at        store.Position
	key       string // its topic and its bytes there: what a reader gets
	principal string
	topic     string // of the producer
	producer  string
	number    uint64
	bytes     []byte
	code      string // of a rejected one
	trimmed   bool
	gone      time.Time // when it was trimmed
}

// contents reads everything in a store.
func contents(ctx context.Context, s store.Log, topics ...string) (all []stored, err error) {
	for b, err := range s.Read(ctx, store.Position{}, store.ReadOptions{Topics: topics}) {
		if err != nil {
			return nil, err
		}
		if b.Block == nil {
			continue
		}
		for i, data := range b.Block.Records(0) {
			r := stored{
				at:        store.Position{Tag: b.At.Tag, Block: b.At.Block, Index: i},
				key:       b.Block.Topic + " " + string(data),
				principal: b.Block.Principal, topic: b.Block.Topic, producer: b.Block.Producer.Name, bytes: bytes.Clone(data),
			}
			if !b.Block.Producer.IsZero() {
				r.number = b.Block.First + uint64(i)
				r.topic = b.Block.Producer.Topic
			}
			if b.Block.Topic == store.Rejected {
				if err := r.open(); err != nil {
					return nil, fmt.Errorf("%v in _rejected: %w", r.at, err)
				}
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// open takes a rejected record out of its envelope.
func (r *stored) open() error {
	d, err := cbor.Codec{}.Decode(r.bytes, codec.Limits{})
	if err != nil {
		return err
	}
	v, _ := d.Get("code")
	r.code, _ = v.Text()
	v, _ = d.Get("number")
	if n, ok := v.Int(); ok && uint64(n) != r.number {
		return fmt.Errorf("number %d, and it took %d", n, r.number)
	}
	v, _ = d.Get("bytes")
	data, ok := v.Bytes()
	if !ok || r.code == "" {
		return errors.New("without code or bytes")
	}
	r.bytes = bytes.Clone(data)
	return nil
}

// inventory returns everything that a store has or had before it was trimmed, in order of
// position. The store's files must be undamaged.
func inventory(ctx context.Context, s *log.Store, trimmed []stored) ([]stored, error) {
	var damage error
	if _, err := s.Check(ctx, func(d *store.DamageError) { damage = d }); err != nil || damage != nil {
		return nil, fmt.Errorf("check: %w", errors.Join(err, damage))
	}
	all, err := contents(ctx, s)
	if err != nil {
		return nil, err
	}
	all = append(all, trimmed...) // records that were not trimmed after all come first
	slices.SortStableFunc(all, func(a, b stored) int { return a.at.Compare(b.at) })
	return slices.CompactFunc(all, func(a, b stored) bool { return a.at.Compare(b.at) == 0 }), nil
}

// audit compares an inventory with everything that was sent and promised.
func (l *ledger) audit(all []stored) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	type name struct{ principal, topic, producer string }
	have := map[name]map[uint64]stored{}
	last := map[name]uint64{}
	for _, r := range all {
		if r.number == 0 {
			continue
		}
		n := name{r.principal, r.topic, r.producer}
		if have[n] == nil {
			have[n] = map[uint64]stored{}
		}
		if before, twice := have[n][r.number]; twice {
			return fmt.Errorf("%s number %d is stored twice: at %v and at %v", r.producer, r.number, before.at, r.at)
		}
		have[n][r.number] = r
		if r.number <= last[n] {
			return fmt.Errorf("%s number %d at %v comes after %d", r.producer, r.number, r.at, last[n])
		}
		last[n] = r.number
		if bytes.HasPrefix(r.bytes, []byte(`{"w":"c`)) {
			continue // see clientProducer.audit
		}
		if !slices.ContainsFunc(l.books, func(b *book) bool { return b.has(r) }) {
			return fmt.Errorf("%s number %d at %v was not sent: code %q, %.60q", r.producer, r.number, r.at, r.code, r.bytes)
		}
	}
	for _, b := range l.books {
		if b.stopped != nil && l.lives > 0 {
			continue // it was told that the store has lost something
		}
		for n := uint64(1); n <= b.acked; n++ {
			sent, bound := b.sent[n]
			if !bound || l.wasLost(b, n) {
				continue
			}
			switch r, ok := have[name{b.principal, b.topic, b.producer}][n]; {
			case !ok:
				return fmt.Errorf("%s: number %d of %d was acknowledged, and is not stored", b.writer, n, b.acked)
			case !sent.is(r.bytes):
				return fmt.Errorf("%s: number %d was acknowledged, and there is another's: %.60q", b.writer, n, r.bytes)
			}
		}
	}
	return nil
}

func (b *book) has(r stored) bool {
	sent, ok := b.sent[r.number]
	return ok && b.principal == r.principal && b.topic == r.topic && b.producer == r.producer && sent.code == r.code && sent.is(r.bytes)
}

// wasLost reports whether a writer of the producer was told that number n is lost, and
// continued: accepting a loss applies to all that use the name.
func (l *ledger) wasLost(b *book, n uint64) bool {
	return slices.ContainsFunc(l.books, func(other *book) bool {
		return other.principal == b.principal && other.topic == b.topic && other.producer == b.producer && other.wasLost(n)
	})
}

func (b *book) wasLost(n uint64) bool {
	return slices.ContainsFunc(b.lost, func(s span) bool { return s.from <= n && n < s.to })
}
