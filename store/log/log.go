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

// Options are what a store can be told. Nil and the zero value mean the
// defaults.
type Options struct {
	// Durability is store.Fsync (the default) or store.OS, which does not wait
	// for the disk. In a file system in memory (tmpfs), it is store.OS.
	Durability store.Durability

	// Reserve is how many bytes of the disk stay free. Zero means 1 GiB or 2 %
	// of the disk, whichever is larger, but at most a tenth of the disk;
	// negative means none. Open refuses a reserve that leaves nothing.
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

	// MaxStoredBytes is how much one principal may have stored, in bytes that its
	// blocks take in the log, and 64 more of each. Beyond it, its appends are refused
	// with a *store.LimitError until something of it is trimmed; what is on its way
	// may exceed it. Zero means half of what the disk has beside the reserve, since the
	// files take up to 1.3 times what is retained; but no limit for store.Anonymous,
	// which everybody is where nobody is kept apart. Negative means no limit.
	MaxStoredBytes int64

	// MaxSegment is how large segments grow, in bytes. Zero means 64 MiB.
	MaxSegment int64

	// Existing makes Open fail where there is no store, instead of making one.
	// The error wraps os.ErrNotExist.
	Existing bool

	// ReadOnly opens a store as it is at that moment, without a lock and without
	// changing anything: another process may have it open, and it may lie where
	// nothing can be written. There must be one. What is written later is not seen,
	// and Follow waits in vain. Where files are missing, the rest can be read.
	// What would change something is refused with ErrReadOnly. Salvage, Restored
	// and what bounds the store don't count.
	ReadOnly bool

	// Salvage opens a store some of whose files are missing, and takes note that
	// the damage is known: what the files held is lost, and everything else can
	// be read.
	Salvage bool

	// Restored says that the directory is a copy, made earlier, of a store that
	// went on meanwhile. It gets another tag, so that positions from after the
	// copy are refused, and don't stand for other records. Cursors are kept.
	Restored bool

	// Damaged is told what Open finds damaged, until that was salvaged. Nil
	// disables it.
	Damaged func(Damage)

	// Progress is told how many bytes Check has read, and Backup has copied, of how
	// many, one call after the other. Nil disables it.
	Progress func(done, total uint64)

	// Fatal is told, once, that the log can't go on. It should end the process
	// with an exit status that is not zero, and may do so at once: what was
	// acknowledged is safe. It must not call the store. Where it returns, or is
	// nil, all writes are refused from then on.
	Fatal func(error)

	// Now is the clock. Nil means time.Now. Where it jumps ahead, nothing is
	// deleted for an hour because of an age that it has by that alone.
	Now func() time.Time

	// Logger is told when the clock jumps, and which segments can't be rewritten or
	// removed. Nil disables it.
	Logger *slog.Logger

	// FS is the file system. Nil means that of the operating system.
	FS vfs.FS
}

// A Store is a [store.Store] on disk.
type Store struct {
	fs   vfs.FS
	lock io.Closer
	opts Options
	dir  string

	clock   *steady.Clock // by which things grow old
	tag     string
	head    header // of this opening; read only
	epoch   atomic.Uint64
	damages []Damage
	hidden  []Damage // which a replay came upon, and the next header is to tell of

	snapshot *snapshot // of a store that is opened read-only
	missing  []string  // its files

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

	appendings   sync.Pool    // of *appending
	trimMu       sync.Mutex   // one trim, checkpoint or carry at a time
	carried      uint64       // no state was set by a frame up to it alone; guarded by trimMu
	carriedFrom  uint64       // where the frames end that carried them; guarded by trimMu
	carriedBytes int64        // that they took; guarded by trimMu
	rewriting    sync.Mutex   // one rewriting at a time; taken before trimMu
	hurry        atomic.Int32 // who wait for it
	failure      atomic.Pointer[error]
	broken       chan struct{} // closed when the log can't go on

	gate   sync.RWMutex // held for reading while the store is in use
	closed bool         // guarded by gate
	done   chan struct{}
	keeper sync.WaitGroup
	tidy   chan struct{} // of capacity 1: the keeper has something to do
	sparse chan struct{} // of capacity 1: there may be something to rewrite
}

// Open opens the store in a directory, and makes it where there is none. The
// error wraps store.ErrLocked where another process has it open,
// storedir.ErrForeign where the directory holds something else,
// storedir.ErrReserve where Options.Reserve leaves nothing, and ErrDamaged where
// files are missing.
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

// errHidden says that a replay has come upon damage of which the opening's header does
// not tell: another opening is made, which does.
var errHidden = errors.New("damage was found")

func newStore(dir string, opts Options) *Store {
	s := &Store{
		fs: opts.FS, opts: opts, dir: dir,
		done: make(chan struct{}), broken: make(chan struct{}), tidy: make(chan struct{}, 1), sparse: make(chan struct{}, 1),
		appendings: sync.Pool{New: newAppending},
		committer:  committer{landing: make(chan struct{}, 1)},
	}
	s.quotas = newQuotas(&s.opts)
	return s
}

func (s *Store) open() error {
	r := &recovery{s: s, exp: 1, at: 1}
	// Nothing is made where something else is.
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
	if errors.As(err, new(*os.PathError)) { // the file can't be opened, whoever has a lock on it
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %s (%w)", store.ErrLocked, s.dir, err)
	}
	s.lock = lock
	return s.recover(r)
}

// release gives back what an opening took.
func (s *Store) release() error {
	var errs []error
	if s.states != nil {
		errs = append(errs, s.states.close())
	}
	errs = append(errs, s.committer.closeFiles())
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
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

// create makes a file that can be read and written.
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

// enter begins a use of the store, which leave ends.
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

// fail notes that the log can't go on: after a failed sync nobody knows what is
// on the disk, and a second one would not tell.
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

// Close ends all reads, waits for the appends that are under way, and closes the
// store. What comes later is store.ErrUnavailable.
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
		errs = []error{f} // of a log that gave up, nothing else is worth to be told
	}
	return errors.Join(append(errs, s.release())...)
}

// finish writes that the log was closed, so that the next opening knows all
// positions that were given.
func (s *Store) finish() error {
	var d draft
	d.reset()
	d.addItem(kindClose, len(d.buf))
	if err := s.commitNew(&commit{draft: &d, vital: true}); err != nil {
		return err
	}
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	return s.checkpoint()
}
