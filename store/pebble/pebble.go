// Package pebble is a store on disk, in a directory that one process owns. It
// is built on the Pebble engine.
//
//	s, err := pebble.Open(ctx, dir, nil)
//	…
//	defer s.Close()
//
// # Guarantees
//
//   - A block, its place in the order, the numbers of its producer and their
//     rejections are one atomic write, which is synced before Append returns.
//     Writers that come at the same time share a sync.
//   - Opening after a crash takes time that does not depend on how much is
//     stored.
//   - Nothing is deleted unasked but what lies in _rejected for 7 days or beyond
//     256 MiB, and producers whose time is over.
//   - When less than Options.Reserve is free on the disk, appends are refused and
//     reads go on. They are taken again when there is room. What the process
//     notes for itself, in topics that begin with "_", is taken always.
//   - When the engine can't write, nothing is acknowledged any more, and
//     Options.Fatal is told: the process should end and start anew.
//
// # The keys
//
// Numbers in keys are big endian, so that they sort; topic and position of a
// block are its key.
//
//	b topic 00 position     envelope, block       the blocks
//	p position              time, topic           their order
//	t topic                 trimmed, cleaned      the topics there ever were
//	q producer              state                 the producers
//	r producer 00 number    code, text            their rejections
//	c cursor                position, time        the cursors
//	d time producer                               when producers may have to be forgotten
//	n kind principal        number                how many names a principal has
//	m name                  …                     version, tag, next position, generation
//
// An envelope is the time of the store, what the topic held before (blocks,
// records, bytes), the records and bytes of the block, and a CRC-32C of them.
package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/steady"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/claims"
	"github.com/dictwire/dictwire/store/internal/names"
)

// Options are what a store can be told. Nil and the zero value mean the
// defaults.
type Options struct {
	// Durability is store.Fsync (the default) or store.OS, which does not wait
	// for the disk.
	Durability store.Durability

	// Reserve is how many bytes of the disk stay free. Zero means 1 GiB or 2 %
	// of the disk, whichever is larger, but at most a tenth of it; negative means
	// none. The 12 MiB that may be in memory, of which tables are still to be
	// made, come on top. Open refuses a reserve that the disk can never have.
	Reserve int64

	// Keep says what of a topic is kept. Nil means DefaultKeep.
	Keep func(topic string) Keep

	// KeepEvery is how often that is looked after. Zero means a minute;
	// negative means never.
	KeepEvery time.Duration

	// MaxTopics, MaxProducers and MaxCursors are how many of them there may be;
	// one principal may have half. One more is refused with a *store.LimitError.
	// Zero means 20,000, 4,000,000 and 100,000; negative means no limit.
	MaxTopics, MaxProducers, MaxCursors int

	// Existing makes Open fail where there is no store, instead of making one.
	// The error wraps os.ErrNotExist.
	Existing bool

	// Salvage opens a store some of whose files were cut off, or whose own keys
	// are damaged: what they held is lost, and everything else can be read. Where
	// the tag is lost, it gets another one. Without it, Open refuses.
	Salvage bool

	// Restored says that the directory is a copy, made earlier, of a store that
	// went on meanwhile. It gets another tag, so that positions from behind the
	// copy are refused, and don't stand for other records. Cursors are kept.
	Restored bool

	// Fatal is told, once, that the engine can't go on. It should end the
	// process with an exit status that is not zero, and may do so at once: what
	// was acknowledged is safe. It must not call the store. Where it returns,
	// or is nil, all writes are refused from then on.
	Fatal func(error)

	// Now is the clock. Nil means time.Now. Where it jumps ahead, nothing is
	// deleted for an age that it has by that alone until an hour has passed.
	Now func() time.Time

	// Logger is told when the clock jumps. Nil disables it.
	Logger *slog.Logger

	// FS is the file system. Nil means that of the operating system.
	FS vfs.FS
}

// A Store is a [store.Store] on disk.
type Store struct {
	db   *engine.DB
	lock *engine.Lock
	opts Options
	dir  string

	tag   string
	epoch atomic.Uint64 // of the last claim; its upper half is the generation

	appendings sync.Pool // of *appending

	committer                        committer
	order                            order
	topics                           topics
	producers                        producers
	reserve                          reserve
	trimMu                           sync.Mutex // one trim at a time
	cursors                          cursors
	ofTopics, ofProducers, ofCursors *names.Quota

	writers claims.Table[store.Producer]
	readers claims.Table[store.CursorName]
	clock   *steady.Clock // by which things grow old

	opening atomic.Bool
	failure atomic.Pointer[error] // why the engine can't go on

	gate   sync.RWMutex // held for reading while the engine is in use
	closed bool         // guarded by gate
	done   chan struct{}
	keeper sync.WaitGroup
}

// Open opens the store in a directory, and makes it where there is none: in an
// empty directory, or one that is not there. The directory and its files are its
// owner's alone. The error wraps store.ErrLocked where another process has the store
// open.
func Open(ctx context.Context, dir string, o *Options) (*Store, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s := &Store{dir: dir, done: make(chan struct{}), appendings: sync.Pool{New: newAppending}}
	s.reserve.stuck = make(chan struct{}, 1)
	s.committer.broken = make(chan struct{})
	if o != nil {
		s.opts = *o
	}
	if err := s.opts.fill(); err != nil {
		return nil, err
	}
	s.ofTopics = names.New("topics", "MaxTopics", s.opts.MaxTopics, 20_000)
	s.ofProducers = names.New("producers", "MaxProducers", s.opts.MaxProducers, 4_000_000)
	s.ofCursors = names.New("cursors", "MaxCursors", s.opts.MaxCursors, 100_000)
	fs := s.opts.FS
	found, err := lookFor(fs, dir)
	if err == nil && !found && s.opts.Existing {
		err = os.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", dir, cause(err))
	}
	if err := makeDir(fs, dir); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.reserve.open(fs, dir, s.opts.Reserve); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", dir, err)
	}
	lock, err := engine.LockDirectory(dir, fs)
	if errors.As(err, new(*os.PathError)) { // the file can't be opened, whoever has a lock on it
		return nil, fmt.Errorf("store: open %s: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s (%w)", store.ErrLocked, dir, err)
	}
	s.lock = lock
	s.opening.Store(true)
	err = s.open()
	s.opening.Store(false)
	if err != nil {
		if s.db != nil && s.committer.stop(s) {
			err = errors.Join(err, s.db.Close())
		}
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", dir, err), lock.Close())
	}
	if s.opts.KeepEvery > 0 {
		s.keeper.Go(s.keep)
	}
	return s, nil
}

// cause strips what repeats the name of a directory.
func cause(err error) error {
	var path *os.PathError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &call):
		return call.Err
	default:
		return err
	}
}

func (o *Options) fill() error {
	switch o.Durability {
	case "":
		o.Durability = store.Fsync
	case store.Fsync, store.OS:
	default:
		return fmt.Errorf("store: durability %q, want %q or %q", o.Durability, store.Fsync, store.OS)
	}
	if o.Keep == nil {
		o.Keep = DefaultKeep
	}
	if o.KeepEvery == 0 {
		o.KeepEvery = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil || o.FS == vfs.Default {
		o.FS = private{vfs.Default}
	}
	return nil
}

// What is not in tables yet lies in memory and in the log: so many bytes, so
// often.
const (
	memTable  = 4 << 20
	memTables = 3
)

// events is what the engine is listened to for.
func (s *Store) events() *engine.EventListener {
	var flush atomic.Pointer[error] // why the last one failed, if it did
	return &engine.EventListener{
		// Damage is reported where it is read, and stops nothing else.
		DataCorruption: func(engine.DataCorruptionInfo) {},
		FlushEnd: func(i engine.FlushInfo) {
			if i.Err != nil {
				flush.Store(&i.Err)
				return
			}
			flush.Store(nil)
			s.reserve.setStall(nil)
		},
		BackgroundError: func(err error) {
			if why := flush.Load(); why == nil || !errors.Is(err, *why) {
				return // a compaction's: it is tried again
			}
			if s.opening.Load() {
				s.fail(err) // nothing can be refused: Open waits for the tables
			}
			err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
			s.reserve.setStall(err)
			s.committer.refuse(err)
		},
	}
}

// open opens the engine and loads what is needed to go on.
func (s *Store) open() error {
	cache := engine.NewCache(8 << 20)
	defer cache.Unref()
	eo := &engine.Options{
		Cache:              cache,
		FS:                 s.opts.FS,
		Lock:               s.lock,
		Comparer:           comparer,
		FormatMajorVersion: engine.FormatWALSyncChunks,
		Logger:             logger{s},
		EventListener:      s.events(),
		// What these hold is in the log alone, and read when the store is opened
		// after a crash.
		MemTableSize:                memTable,
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       math.MaxInt, // see committer.pace
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                256,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	if s.opts.Durability == store.OS {
		eo.FS = unsynced{eo.FS}
	}
	eo.FS = fuse{patient{checked{eo.FS}, &s.reserve}, s}
	for i := range eo.Levels {
		// Blocks are compressed already.
		eo.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		// The engine looks for a flipped bit in a time that grows with the square
		// of this, each time it finds damage.
		eo.Levels[i].BlockSize = 8 << 10
	}
	eo.Experimental.ReadSamplingMultiplier = -1
	if err := roomToOpen(s.opts.FS, s.dir); err != nil {
		return err
	}
	db, err := engine.Open(s.dir, eo)
	if err != nil && s.opts.Salvage {
		if mended, e := salvage(s.opts.FS, err); e != nil {
			return errors.Join(err, e)
		} else if mended {
			db, err = engine.Open(s.dir, eo)
		}
	}
	if err != nil && cut.MatchString(err.Error()) {
		return fmt.Errorf("%w: %w", ErrCut, brief{err})
	}
	if err != nil {
		return err
	}
	s.db = db
	s.committer.start(s)
	return s.load()
}

// Limits implements [store.Store].
func (s *Store) Limits() store.Limits {
	return store.Limits{Durability: s.opts.Durability, BlockBytes: store.MaxBlockBytes}
}

// Ready implements [store.Store].
func (s *Store) Ready(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if f := s.failed(); f != nil {
		return f
	}
	return s.reserve.check(0)
}

var errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)

// enter begins a use of the engine, which leave ends.
func (s *Store) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.gate.RLock()
	if s.closed {
		s.gate.RUnlock()
		return errClosed
	}
	return nil
}

func (s *Store) leave() { s.gate.RUnlock() }

// get returns the value of a key, nil where there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	defer closer.Close()
	return append(make([]byte, 0, len(v)), v...), nil
}

// unreadable wraps an error of the engine.
func unreadable(err error) error { return fmt.Errorf("%w: %w", store.ErrUnavailable, brief{err}) }

// A brief is an error of the engine without the lines of details behind it.
type brief struct{ error }

func (b brief) Error() string {
	text, _, _ := strings.Cut(b.error.Error(), "\n")
	return text
}

func (b brief) Unwrap() error { return b.error }

// A logger is the engine's, which tells by it that it can't go on.
type logger struct{ s *Store }

func (logger) Infof(string, ...any)  {}
func (logger) Errorf(string, ...any) {}

func (l logger) Fatalf(format string, args ...any) { l.s.fail(fmt.Errorf(format, args...)) }

// unsynced is a file system whose write-ahead log is handed to the operating
// system, and not synced.
type unsynced struct{ vfs.FS }

func (u unsynced) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return u.wrap(name)(u.FS.Create(name, c))
}

func (u unsynced) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return u.wrap(name)(u.FS.ReuseForWrite(old, name, c))
}

// Unwrap returns the file system within.
func (u unsynced) Unwrap() vfs.FS { return u.FS }

func (u unsynced) wrap(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err == nil && len(name) > 4 && name[len(name)-4:] == ".log" {
			return unsyncedFile{f}, nil
		}
		return f, err
	}
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error                { return nil }
func (unsyncedFile) SyncData() error            { return nil }
func (unsyncedFile) SyncTo(int64) (bool, error) { return false, nil }
