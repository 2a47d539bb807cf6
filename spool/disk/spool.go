package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dictwire/dictwire/spool"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// Options are options of a spool. Nil and the zero value mean the defaults.
type Options struct {
	// Name is the prefix of the producer's name, for people: at most 32 bytes of printable ASCII
	// without spaces. It is used only when the spool is created.
	Name string

	// MaxBytes limits the records in the spool, in bytes. Zero means 1 GiB, negative no limit.
	MaxBytes int64

	// MaxAge limits the age of the oldest unsettled record. The spool does not drop an older one,
	// but is full until it is settled. Zero means 60 days, negative no limit.
	MaxAge time.Duration

	// NoWait makes Append return spool.ErrFull if the spool is full, instead of waiting for room.
	NoWait bool

	// Durability is what Append promises: store.Fsync (the default), or store.OS, which survives
	// the end of the process but not a loss of power.
	Durability store.Durability

	// Reserve is the disk space that must stay free, in bytes: the spool is full while less is
	// free. Zero means 64 MiB, but at most a tenth of the disk; negative means none. Open refuses
	// a reserve that is larger than the disk.
	Reserve int64

	// AcceptLost makes Open accept that files of the spool are missing, with records that nobody
	// knows. Without it, Open fails.
	AcceptLost bool

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// FS is the file system. Nil means that of the operating system.
	FS vfs.FS
}

// A Spool is a [spool.Spool] in a directory.
type Spool struct {
	store  *log.Store
	opts   Options
	least  uint64 // the reserve, in bytes
	dir    string
	ledger *ledger.Ledger
	idle   sync.Pool // of *call

	// write is held while a batch is written and counted.
	write sync.Mutex
	batch batch // guarded by write

	mu      sync.Mutex
	topics  map[string]*topic // guarded by mu
	pending []*call           // guarded by mu: calls to be written
	writing bool              // guarded by mu: a call is writing
	bytes   int64             // guarded by mu: of all records, including those of calls in progress
	oldest  time.Time         // guarded by mu: the time of the oldest record, or zero
	settles uint64            // guarded by mu: the number of Settle calls that had an effect
	unsaved bool              // guarded by mu: settled numbers are not saved yet
	disk    disk              // guarded by mu
	waiting int               // guarded by mu: calls that wait for room
	room    chan struct{}     // guarded by mu: closed when there may be more room
	closed  bool              // guarded by mu
	failure error             // guarded by mu: why settled numbers could not be saved
	refused uint64            // guarded by mu
	calls   sync.WaitGroup    // Append; Add under mu before closed
	settled chan struct{}     // of capacity 1: something is unsaved
	hurry   chan struct{}     // of capacity 1: save it now
	done    chan struct{}     // closed by Close
	keeper  sync.WaitGroup
}

// A topic is the state of a topic. It is guarded by Spool.mu, unless a field's comment says
// otherwise.
type topic struct {
	name    string
	claimed bool   // epoch is that of a claim; guarded by Spool.write
	epoch   uint64 // guarded by Spool.write
	next    uint64 // the number after the last durable one; written under both Spool.write and Spool.mu
	given   uint64 // the number after the last one that is durable or being written: a reader may see it before its writer returns

	first  uint64 // the number of the oldest record, or next
	acked  uint64
	sum    uint32
	bytes  int64     // of the records
	oldest time.Time // the time of the oldest record, or zero

	saved uint64 // the acked that is durable, up to which records are trimmed
}

// Topic is the topic of a spool's notes in its store. Its presence distinguishes a spool from a
// server's store.
const Topic = "_spool"

const (
	settled    = "settled" // the kind of notes about settled numbers
	concurrent = 64        // topics that Open loads at a time
)

var errClosed = fmt.Errorf("spool: closed: %w", store.ErrUnavailable)

// Open opens the spool in a directory, or creates it. The error wraps store.ErrLocked if
// another process has it open, and spool.ErrDamaged if parts of it are lost: see
// Options.AcceptLost.
func Open(ctx context.Context, dir string, o *Options) (*Spool, error) {
	s := &Spool{
		dir:     dir,
		idle:    sync.Pool{New: newCall},
		topics:  map[string]*topic{},
		room:    make(chan struct{}),
		settled: make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	if o != nil {
		s.opts = *o
	}
	if err := s.opts.fill(); err != nil {
		return nil, err
	}
	var damages []log.Damage
	db, err := log.Open(ctx, dir, &log.Options{
		Durability: s.opts.Durability,
		Reserve:    -1, // the spool checks its own, so that settled numbers can be saved on a full disk
		KeepEvery:  -1, // only settled records are trimmed
		MaxTopics:  -1, // the program chooses its topics
		// The spool's own:
		MaxProducers: -1, MaxCursors: -1, MaxStoredBytes: -1,
		Salvage: s.opts.AcceptLost,
		Damaged: func(d log.Damage) {
			if !d.Known { // Read reports known damage
				damages = append(damages, d)
			}
		},
		Now: s.opts.Now,
		FS:  s.opts.FS,
	})
	if errors.Is(err, log.ErrDamaged) {
		return nil, fmt.Errorf("spool: %w: %w", spool.ErrDamaged, err)
	}
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("spool: each program needs a directory of its own: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if len(damages) > 0 {
		err := fmt.Errorf("spool: open %s: %w: %s", dir, spool.ErrDamaged, damages[0].Text)
		return nil, errors.Join(err, db.Close())
	}
	s.store = db
	if err := errors.Join(s.setReserve(), s.load(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("spool: open %s: %w", dir, err), db.Close())
	}
	s.keeper.Go(s.keep)
	return s, nil
}

func (o *Options) fill() error {
	var errs []error
	if err := ledger.CheckPrefix(o.Name); err != nil {
		errs = append(errs, fmt.Errorf("spool: %w", err))
	}
	switch {
	case o.MaxBytes == 0:
		o.MaxBytes = 1 << 30
	case o.MaxBytes < 0:
		o.MaxBytes = 1<<63 - 1
	}
	switch {
	case o.MaxAge == 0:
		o.MaxAge = 60 * 24 * time.Hour
	case o.MaxAge < 0:
		o.MaxAge = 1<<63 - 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return errors.Join(errs...)
}

// load reads the state of the spool from its store.
func (s *Spool) load(ctx context.Context) error {
	stats, err := s.store.Topics(ctx)
	if err != nil {
		return err
	}
	if len(stats) > 0 && !slices.ContainsFunc(stats, func(t store.TopicStat) bool { return t.Name == Topic }) {
		return errors.New("it is a server's store; a spool needs a directory of its own")
	}
	if s.ledger, err = ledger.Open(ctx, s.store, Topic, s.opts.Name, s.opts.Now); err != nil {
		return err
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(concurrent)
	for _, stat := range stats {
		if strings.HasPrefix(stat.Name, "_") {
			continue
		}
		g.Go(func() error {
			t, err := s.loadTopic(ctx, stat)
			if err != nil {
				return fmt.Errorf("topic %s: %w", stat.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			s.topics[t.name] = t
			s.bytes += t.bytes
			s.older(t.oldest)
			if t.first <= t.acked {
				s.unsaved = true
				wake(s.settled)
			}
			return nil
		})
	}
	return g.Wait()
}

// loadTopic reads the state of a topic.
func (s *Spool) loadTopic(ctx context.Context, stat store.TopicStat) (*topic, error) {
	t := &topic{name: stat.Name, bytes: int64(stat.Bytes), oldest: stat.Oldest}
	claim, err := ledger.Claim(ctx, s.store, s.producer(t.name))
	if err != nil {
		return nil, err
	}
	t.claimed, t.epoch, t.next, t.first = true, claim.Epoch, claim.Next, claim.Next
	t.given = t.next
	mark, err := s.ledger.Note(ctx, settled, t.name)
	if err != nil {
		return nil, err
	}
	if t.acked, t.sum, err = parseMark(mark); err != nil {
		return nil, err
	}
	t.saved = t.acked
	if b, ok, err := s.firstFrom(ctx, t.name, store.Position{}); err != nil {
		return nil, err
	} else if ok {
		t.first = b.first
	}
	t.first = min(t.first, t.acked+1) // unsettled records are never trimmed, so missing ones are damaged, which Read reports
	if t.first <= t.acked {
		t.saved = t.first - 1 // they must be trimmed
	}
	return t, nil
}

// older lowers the time of the oldest record to t. s.mu is held.
func (s *Spool) older(t time.Time) {
	if !t.IsZero() && (s.oldest.IsZero() || t.Before(s.oldest)) {
		s.oldest = t
	}
}

func (s *Spool) producer(topic string) store.Producer {
	return store.Producer{Topic: topic, Name: s.ledger.Name()}
}

// after returns the number after the last one that is known to be durable.
func (t *topic) after() uint64 { return max(t.next, t.acked+1) }

// Producer implements [spool.Spool].
func (s *Spool) Producer() string { return s.ledger.Name() }

// Attempt implements [spool.Spool].
func (s *Spool) Attempt(ctx context.Context) (uint64, error) {
	attempt, err := s.ledger.Attempt(ctx)
	if err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	return attempt, nil
}

// Topics implements [spool.Spool].
func (s *Spool) Topics(context.Context) ([]spool.Topic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	all := make([]spool.Topic, 0, len(s.topics))
	for _, t := range s.topics {
		if next := t.after(); next > 1 {
			all = append(all, spool.Topic{Topic: t.name, First: t.first, Next: next, Acked: t.acked, Sum: t.sum})
		}
	}
	slices.SortFunc(all, func(a, b spool.Topic) int { return strings.Compare(a.Topic, b.Topic) })
	return all, nil
}

// Stats are counters of a spool.
type Stats struct {
	Records uint64    // unsettled
	Bytes   int64     // of records on disk, some of which may be settled
	Oldest  time.Time // the time of the oldest unsettled record, or zero
	Waiting int       // calls of Append that wait for room
	Refused uint64    // calls of Append, since Open, that returned spool.ErrFull
}

// Stats returns the spool's counters.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Bytes: s.bytes, Oldest: s.oldest, Waiting: s.waiting, Refused: s.refused}
	for _, t := range s.topics {
		st.Records += t.after() - max(t.first, t.acked+1)
	}
	return st
}

// Close ends all reads, waits for appends in progress, saves settled numbers, and closes the
// spool. Later calls return store.ErrUnavailable.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.moreRoom()
	close(s.done)
	s.mu.Unlock()
	s.calls.Wait()
	s.keeper.Wait()
	return errors.Join(s.save(context.Background()), s.store.Close())
}

// wake leaves a token in a channel of capacity 1.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
