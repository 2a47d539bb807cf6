package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/steady"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/claims"
)

// Options configure a store. Nil and the zero value mean the defaults.
type Options struct {
	// Durability is store.Fsync (the default) or store.OS, which does not wait for the
	// disk. On a file system in memory (tmpfs) it is always store.OS.
	Durability store.Durability

	// Reserve is how many bytes must stay free on the disk. Zero means 1 GiB or 2 % of
	// the disk, whichever is larger, but at most a tenth of the disk. Negative means
	// none. Open refuses a reserve that leaves nothing.
	Reserve int64

	// Keep returns the retention of a topic. Nil means DefaultKeep.
	Keep func(topic string) Keep

	// KeepEvery is the interval at which records beyond their retention are trimmed. Zero
	// means a minute; negative means never.
	KeepEvery time.Duration

	// MaxTopics, MaxProducers and MaxCursors limit their numbers. One principal may have
	// half of them. Creating one more fails with a *store.LimitError. Zero means 20,000,
	// 4,000,000 and 100,000; negative means no limit.
	MaxTopics, MaxProducers, MaxCursors int

	// MaxStoredBytes limits what one principal may have stored: the bytes that its blocks
	// take in the log, plus 64 for each block. Beyond that, its appends fail with a
	// *store.LimitError until something is trimmed; appends in progress may exceed it.
	// Zero means half of the disk without the reserve, since the files take up to 1.3
	// times what is retained; but no limit for store.Anonymous, the principal of
	// everybody on servers without authentication. Negative means no limit.
	MaxStoredBytes int64

	// MaxSegment is the largest size of a segment, in bytes. Zero means 64 MiB.
	MaxSegment int64

	// Existing makes Open fail if there is no store, with an error that wraps
	// os.ErrNotExist, instead of creating one.
	Existing bool

	// ReadOnly opens a store as it is at that moment, without a lock and without changing
	// anything. Another process may have it open, and the directory may be read-only. The
	// store must exist. Later writes are not seen, and Follow waits in vain. Missing
	// files do not matter to what the others hold. Changes are refused with ErrReadOnly.
	// Salvage, Restored and all limits are ignored.
	ReadOnly bool

	// Salvage opens a store with missing files, and accepts their loss for good.
	// Everything else can be read.
	Salvage bool

	// Restored says that the directory is an older copy of a store that went on without
	// it. The copy gets another tag, so that positions from after the copy are refused
	// instead of naming other records. Cursors are kept.
	Restored bool

	// Import opens a store that is half a copy of another one, so that the copy can go
	// on: see store.Importer.
	Import bool

	// Damaged is called for damage that Open finds, until it is salvaged. Nil disables
	// it.
	Damaged func(Damage)

	// Progress is called with the number of bytes that Check has read, or Backup has
	// copied, and their total. Calls do not overlap. Nil disables it.
	Progress func(done, total uint64)

	// Fatal is called, once, if the log can't go on. It should end the process with an
	// exit status other than zero, and may do so at once, since whatever was acknowledged
	// is safe. It must not call the store. If it returns, or is nil, all further writes
	// are refused.
	Fatal func(error)

	// Now is the clock. Nil means time.Now. If the clock jumps ahead, nothing is deleted
	// for an hour that has become old enough only by the jump.
	Now func() time.Time

	// Logger logs jumps of the clock, and segments that can't be rewritten or removed.
	// Nil disables it.
	Logger *slog.Logger

	// FS is the file system. Nil means the operating system's.
	FS vfs.FS
}

// A Store is a [store.Store] on disk.
type Store struct {
	fs   vfs.FS
	lock io.Closer
	opts Options
	dir  string

	clock   *steady.Clock // for the age of records and producers
	tag     string
	head    header // of this opening; never changed
	epoch   atomic.Uint64
	damages []Damage
	hidden  []Damage // found by a replay, to be noted in the next header

	snapshot *snapshot // of a store that was opened read-only
	missing  []string  // files

	segments  segments
	indexes   indexes
	states    *states
	committer committer
	topics    topics
	producers producers
	cursors   cursors
	quotas    quotas
	writers   claims.Table[store.Producer]
	readers   claims.Table[store.CursorName]
	waiters   waiters
	reserve   reserve
	measured  measured

	maxStoredBytes atomic.Int64 // as in the options

	importing    sync.Mutex   // one import at a time
	copies       bool         // the file system copies on write; set once
	half         atomic.Bool  // it is half a copy of another store: frames have the times of its blocks
	appendings   sync.Pool    // of *appending
	trimMu       sync.Mutex   // one trim, checkpoint or carry at a time
	carried      uint64       // all states of frames up to this one were carried; guarded by trimMu
	carriedFrom  uint64       // the end of the frames that carried them; guarded by trimMu
	carriedBytes int64        // the size of those frames; guarded by trimMu
	rewriting    sync.Mutex   // one rewriting at a time; taken before trimMu
	hurry        atomic.Int32 // callers that wait for a rewriting
	failure      atomic.Pointer[error]
	broken       chan struct{} // closed when the log can't go on

	gate   sync.RWMutex // held for reading while the store is in use
	closed bool         // guarded by gate
	done   chan struct{}
	keeper sync.WaitGroup
	tidy   chan struct{} // of capacity 1: the keeper has something to do
	sparse chan struct{} // of capacity 1: there may be something to rewrite
}

// Open opens the store in a directory, and creates it if there is none. The error wraps
// store.ErrLocked if another process has it open, storedir.ErrForeign if the directory
// holds something else, storedir.ErrReserve if Options.Reserve leaves no space,
// store.ErrHalf if it is half a copy, and ErrDamaged if files are missing.
func Open(ctx context.Context, dir string, o *Options) (*Store, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var opts Options
	if o != nil {
		opts = *o
	}
	if err := opts.fill(); err != nil {
		return nil, err
	}
	if opts.ReadOnly {
		return openReadOnly(ctx, dir, opts)
	}
	var hidden []Damage
	for {
		s := newStore(dir, opts)
		s.hidden = hidden
		switch err := s.open(); {
		case err == nil && s.half.Load() && !opts.Import:
			return nil, fmt.Errorf("store: open %s: %w", dir, errors.Join(store.ErrHalf, s.Close()))
		case err == nil:
			return s, nil
		case errors.Is(err, store.ErrLocked):
			return nil, err
		case errors.Is(err, errHidden):
			hidden = s.hidden
			if err := s.release(); err != nil {
				return nil, fmt.Errorf("store: open %s: %w", dir, err)
			}
		default:
			return nil, fmt.Errorf("store: open %s: %w", dir, errors.Join(err, s.release()))
		}
	}
}

// errHidden says that a replay has found damage that the opening's header does not
// mention. Another opening, which mentions it, must be made.
var errHidden = errors.New("damage was found")

func newStore(dir string, opts Options) *Store {
	s := &Store{
		fs: opts.FS, opts: opts, dir: dir,
		done: make(chan struct{}), broken: make(chan struct{}), tidy: make(chan struct{}, 1), sparse: make(chan struct{}, 1),
		committer: committer{landing: make(chan struct{}, 1)},
	}
	s.appendings.New = s.newAppending
	s.quotas = newQuotas(&s.opts)
	s.maxStoredBytes.Store(opts.MaxStoredBytes)
	return s
}

func (s *Store) open() error {
	r := &recovery{s: s, exp: 1, at: 1}
	// Create nothing in a directory that holds something else.
	switch err := r.list(); {
	case errors.Is(err, os.ErrNotExist):
		if s.opts.Existing {
			return cause(err)
		}
		if err := makeDir(s.fs, s.dir); err != nil {
			return err
		}
	case err != nil:
		return cause(err)
	case s.opts.Existing && len(r.files) == 0:
		return os.ErrNotExist
	}
	lock, err := engine.LockDirectory(s.dir, s.fs)
	if errors.As(err, new(*os.PathError)) { // the lock file can't be opened at all
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %s (%w)", store.ErrLocked, s.dir, err)
	}
	s.lock = lock
	return s.recover(r)
}

// release releases what an opening has acquired.
func (s *Store) release() error {
	var errs []error
	if s.states != nil {
		errs = append(errs, s.states.close())
	}
	s.committer.leaders.Wait()
	errs = append(errs, s.committer.closeFiles())
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// cause strips a repeated name of the directory.
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
	if o.MaxSegment == 0 {
		o.MaxSegment = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil {
		o.FS = private{vfs.Default}
	}
	return nil
}

// path returns the path of a file in the store's directory.
func (s *Store) path(name string) string { return s.fs.PathJoin(s.dir, name) }

// create creates a file for reading and writing.
func (s *Store) create(name string) (vfs.File, error) {
	return s.fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
}

// Limits implements [store.Store].
func (s *Store) Limits() store.Limits {
	return store.Limits{
		Durability: s.opts.Durability, BlockBytes: store.MaxBlockBytes, RejectedBytes: s.opts.Keep(store.Rejected).Bytes,
	}
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

// enter begins a use of the store, which ends with leave.
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

// failed returns why the log can't go on, or nil.
func (s *Store) failed() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail notes that the log can't go on: after a failed sync, the content of the disk is
// unknown, and syncing again would not reveal it.
func (s *Store) fail(err error) {
	err = fmt.Errorf("%w: the log can't go on: %w", store.ErrUnavailable, err)
	if !s.failure.CompareAndSwap(nil, &err) {
		return
	}
	close(s.broken)
	if s.opts.Fatal != nil {
		s.opts.Fatal(err)
	}
}

// position returns the position of a block.
func (s *Store) position(block uint64) store.Position {
	return store.Position{Tag: s.tag, Block: block}
}

// Close ends all reads, waits for appends in progress, and closes the store. Later calls
// return store.ErrUnavailable.
func (s *Store) Close() error {
	s.gate.Lock()
	if s.closed {
		s.gate.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	s.gate.Unlock()
	s.keeper.Wait()
	var errs []error
	if s.failed() == nil {
		errs = append(errs, s.finish())
	}
	if f := s.failed(); f != nil && !s.opts.ReadOnly {
		errs = []error{f} // after a failure of the log, other errors say nothing
	}
	return errors.Join(append(errs, s.release())...)
}

// finish writes that the log was closed, so that the next opening knows all used
// positions.
func (s *Store) finish() error {
	m := newCommit()
	m.vital = true
	m.addItem(kindClose, len(m.buf))
	if err := s.commitNew(m); err != nil {
		return err
	}
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	return s.checkpoint()
}
