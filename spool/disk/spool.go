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

// Options are what a spool can be told. Nil and the zero value mean the
// defaults.
type Options struct {
	// Name begins the producer's name, so that people know it: at most 32
	// bytes of printable ASCII without spaces. It counts when the spool is
	// made, and not later.
	Name string

	// MaxBytes is how many bytes of records the spool holds; it is full when
	// there is no room for what is to be appended. Zero means 1 GiB, negative no
	// limit.
	MaxBytes int64

	// MaxAge is how long the oldest record may wait to be settled. Beyond that
	// the spool is full, whatever it holds, until the record is settled: it is
	// not dropped. Zero means 60 days, negative no limit.
	MaxAge time.Duration

	// NoWait lets Append return spool.ErrFull where the spool is full,
	// instead of waiting for room.
	NoWait bool

	// Durability is what Append promises: store.Fsync (the default) or
	// store.OS, which survives the end of the process and not the loss of
	// power.
	Durability store.Durability

	// Reserve is how many bytes of the disk stay free. The spool is full while
	// fewer are. Zero means 64 MiB, but at most a tenth of the disk; negative
	// means none. Open refuses a reserve that the disk can never have.
	Reserve int64

	// AcceptLost opens a spool of which a part is missing, and goes on without it:
	// nobody knows which records were there. Else Open fails.
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
	least  uint64 // bytes of the disk that stay free
	dir    string
	ledger *ledger.Ledger
	idle   sync.Pool // of *call

	// write is held by whoever writes what is pending, until it is counted.
	write sync.Mutex
	batch batch // guarded by write

	mu      sync.Mutex
	topics  map[string]*topic // guarded by mu
	pending []*call           // guarded by mu: those that wait to be written
	writing bool              // guarded by mu: one call writes what is pending
	bytes   int64             // guarded by mu: of all records, those of calls that are under way included
	oldest  time.Time         // guarded by mu: when the oldest record came; zero where there is none
	settles uint64            // guarded by mu: how often something was settled
	unsaved bool              // guarded by mu: some of it is not saved yet
	disk    disk              // guarded by mu
	waiting int               // guarded by mu: calls that wait for room
	room    chan struct{}     // guarded by mu: closed when there may be more room
	closed  bool              // guarded by mu
	failure error             // guarded by mu: why it could not be saved
	refused uint64            // guarded by mu
	calls   sync.WaitGroup    // Append; Add under mu before closed
	settled chan struct{}     // of capacity 1: something is unsaved
	hurry   chan struct{}     // of capacity 1: save it now
	done    chan struct{}     // closed by Close
	keeper  sync.WaitGroup
}

// A topic is where one of the spool's topics stands. It is guarded by Spool.mu;
// what the writer and the keeper need of it has its own comment.
type topic struct {
	name    string
	claimed bool   // epoch is the store's; guarded by Spool.write
	epoch   uint64 // guarded by Spool.write
	next    uint64 // behind what is durable; written under both Spool.write and Spool.mu
	given   uint64 // behind what is durable or about to be: a reader may be faster than its writer

	first  uint64 // the oldest record that is held, or next
	acked  uint64
	sum    uint32
	bytes  int64     // of the records that are held
	oldest time.Time // when the first of them came; zero where there is none

	saved uint64 // the acked that is durable, and below which all is trimmed
}

// Topic is where a spool keeps its notes in its store: it tells a spool from a
// server's store.
const Topic = "_spool"

const (
	settled    = "settled" // the kind of notes that say what is
	concurrent = 64        // topics that are loaded at a time when a spool is opened
)

var errClosed = fmt.Errorf("spool: closed: %w", store.ErrUnavailable)

// Open opens the spool in a directory, and makes it where there is none. The
// error wraps store.ErrLocked where another process has it open, and
// spool.ErrDamaged where some of it is lost: see Options.AcceptLost.
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
		Reserve:    -1, // full sees to it: what is settled is saved on a full disk, too
		KeepEvery:  -1, // what is settled is trimmed, and nothing else
		MaxTopics:  -1, // the program names them
		// The spool's own:
		MaxProducers: -1, MaxCursors: -1, MaxStoredBytes: -1,
		Salvage: s.opts.AcceptLost,
		Damaged: func(d log.Damage) {
			if !d.Known { // else Read says so
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

// load finds out where the spool stands.
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

// loadTopic loads where a topic stands.
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
	t.first = min(t.first, t.acked+1) // what is not settled was not trimmed: it is damaged, and Read says so
	if t.first <= t.acked {
		t.saved = t.first - 1 // they are to be trimmed
	}
	return t, nil
}

// older notes when a record came. s.mu is held.
func (s *Spool) older(t time.Time) {
	if !t.IsZero() && (s.oldest.IsZero() || t.Before(s.oldest)) {
		s.oldest = t
	}
}

func (s *Spool) producer(topic string) store.Producer {
	return store.Producer{Topic: topic, Name: s.ledger.Name()}
}

// behind returns the number behind what is known to be durable.
func (t *topic) behind() uint64 { return max(t.next, t.acked+1) }

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
		if next := t.behind(); next > 1 {
			all = append(all, spool.Topic{Topic: t.name, First: t.first, Next: next, Acked: t.acked, Sum: t.sum})
		}
	}
	slices.SortFunc(all, func(a, b spool.Topic) int { return strings.Compare(a.Topic, b.Topic) })
	return all, nil
}

// Stats is what a spool holds, and what it has refused since it was opened.
type Stats struct {
	Records uint64    // that are not settled
	Bytes   int64     // of records on disk, some of which may be settled
	Oldest  time.Time // when the oldest of them came; zero where there is none
	Waiting int       // appends that wait for room
	Refused uint64    // appends that got spool.ErrFull
}

// Stats returns what the spool holds.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Bytes: s.bytes, Oldest: s.oldest, Waiting: s.waiting, Refused: s.refused}
	for _, t := range s.topics {
		st.Records += t.behind() - max(t.first, t.acked+1)
	}
	return st
}

// Close ends all reads, waits for the appends that are under way, saves what is
// settled, and closes the spool. What comes later is store.ErrUnavailable.
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
