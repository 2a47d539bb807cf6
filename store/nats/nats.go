package nats

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/internal/claims"
	"github.com/dictwire/dictwire/store/internal/names"
)

// Options are what a store can be told. Nil and the zero value mean the defaults.
type Options struct {
	// Prefix is the name of the stream, and the first word of its subjects: letters,
	// digits, _ and -. Empty means "dictwire".
	Prefix string

	// Replicas is how many nodes have each message, where the stream is made: 1, 3 or
	// 5. Zero means 3.
	Replicas int

	// MaxBytes is how long the stream may be, on each node, where it is made. When it is
	// full, nothing is stored any more. Zero means no limit.
	MaxBytes int64

	// Synced says that every node of the broker has the option sync_interval: always, so
	// that what is stored survives the loss of power of all of them. The broker does not
	// tell.
	Synced bool

	// Credentials is a file with the credentials of a user, as nsc makes it. CA is a file
	// with the certificates that sign those of the nodes; Certificate and Key are files
	// of this client's own. Empty means none.
	Credentials          string
	CA, Certificate, Key string

	// MaxTopics, MaxProducers and MaxCursors are how many of them there may be; one
	// principal may have half. One more is refused with a *store.LimitError. Servers of
	// one store that are asked at the same time may let a few more in. Zero means
	// 20,000, 4,000,000 and 100,000; negative means no limit.
	MaxTopics, MaxProducers, MaxCursors int

	// Keep says how old blocks of a topic become, and how long its records are together,
	// before the oldest are trimmed; zero means no limit. It is asked once a minute. Nil
	// means that all is kept.
	Keep func(topic string) (age time.Duration, bytes uint64)

	// Import opens a store that is half a copy of another one, which is to go on: see
	// store.Importer.
	Import bool

	// Unserved says that nobody is served by this Store: see Others.
	Unserved bool

	// Fatal is called when the stream is another one than that which was opened, was
	// purged or has gone back to what it was before, or is gone: nothing that this Store
	// knows holds any more; and when the broker has closed the connection for good. Nil
	// means that methods return store.ErrUnavailable alone.
	Fatal func(error)

	// Logger is told when the broker goes away and comes back. Nil discards that.
	Logger *slog.Logger

	clock func() time.Time // nil: time.Now
}

// A Store is a [store.Store] on a stream of a NATS JetStream broker.
type Store struct {
	*conn
	layout

	js       jetstream.JetStream
	handle   jetstream.Stream
	tag      string
	created  time.Time // of the stream
	replicas int
	synced   bool
	front    string // the name of this Store among those of the same stream
	logger   *slog.Logger
	fatal    func(error)
	clock    func() time.Time
	ahead    atomic.Int64 // by how much the broker's clock is ahead of clock, in nanoseconds
	set      atomic.Bool  // ahead is known
	rooted   uint64       // the message that holds the tag
	keeps    func(topic string) (age time.Duration, bytes uint64)
	unserved bool // nobody is served
	imports  bool // a copy of another store into this one goes on

	ctx  context.Context //nolint:containedctx // the store's life
	end  context.CancelCauseFunc
	work sync.WaitGroup

	ofTopics, ofProducers, ofCursors *names.Quota

	acked atomic.Uint64 // what readers of this Store must see

	mu        sync.Mutex
	seen      uint64                      // guarded by mu: all messages up to this sequence are known
	head      uint64                      // guarded by mu: the position after the last block
	lastBlock heard                       // guarded by mu: the last block
	unsure    []heard                     // guarded by mu: likewise, each time when the broker was gone, but for those that are known to be there
	newest    time.Time                   // guarded by mu: of that block
	topics    map[string]*topic           // guarded by mu
	trimmed   uint64                      // guarded by mu: the largest topic.to
	recent    []recent                    // guarded by mu: the last blocks
	recentAll uint64                      // guarded by mu: all blocks from here on are in recent
	producers map[string]bool             // guarded by mu: known ones, by the first half of their hash
	cursorsOf map[string]bool             // guarded by mu: cursors that are there, by their hash
	changed   chan struct{}               // guarded by mu: closed when seen has grown
	writing   map[string]*writing         // guarded by mu: by the producers' hashes
	cursors   map[string]*cursor          // guarded by mu: those that are claimed here, by their hash
	shrinkage map[string]*store.Shrinkage // guarded by mu: by topics
	fences    map[string]*fences          // guarded by mu: of what is being claimed here
	round     *round                      // guarded by mu: the barrier that will be next
	half      bool                        // guarded by mu: it is half a copy of another store
	opened    bool                        // guarded by mu: Open knows what there was
	step      step                        // guarded by mu: of such a copy, the last one that was made here

	rounds   sync.Mutex    // held while a barrier is on its way
	trimming chan struct{} // held by a trim

	writers claims.Table[string]
	readers claims.Table[string]
}

var errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)

// Open opens the store at a broker, whose nodes' addresses are "nats://a:4222,b:4222",
// and makes the stream where it does not exist. Close ends it.
func Open(ctx context.Context, servers string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	var name [6]byte
	_, _ = rand.Read(name[:])
	s := &Store{
		layout: layout{o.Prefix}, replicas: o.Replicas, synced: o.Synced, front: hex.EncodeToString(name[:]), logger: o.Logger, fatal: o.Fatal, clock: o.clock, keeps: o.Keep, unserved: o.Unserved, imports: o.Import,
		topics: map[string]*topic{}, producers: map[string]bool{}, cursorsOf: map[string]bool{}, changed: make(chan struct{}),
		writing: map[string]*writing{}, cursors: map[string]*cursor{}, shrinkage: map[string]*store.Shrinkage{}, fences: map[string]*fences{},
		head: 1, trimming: make(chan struct{}, 1),

		ofTopics:    names.New("topics", "MaxTopics", o.MaxTopics, 20_000),
		ofProducers: names.New("producers", "MaxProducers", o.MaxProducers, 4_000_000),
		ofCursors:   names.New("cursors", "MaxCursors", o.MaxCursors, 100_000),
	}
	if s.prefix == "" {
		s.prefix = "dictwire"
	}
	if s.replicas == 0 {
		s.replicas = 3
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if err := checkPrefix(s.prefix); err != nil {
		return nil, err
	}
	nc, err := s.connect(servers, o)
	if err != nil {
		return nil, err
	}
	if s.conn, err = newConn(nc, s.prefix); err != nil {
		nc.Close()
		return nil, err
	}
	if s.js, err = jetstream.New(nc); err == nil {
		err = s.openStream(ctx, o)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	err = s.setClock(ctx)
	s.work.Go(s.follow)
	s.work.Go(s.stay)
	s.work.Go(s.retain)
	if err == nil {
		err = s.catchUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: reading what there is: %w", s.where(), err), s.Close())
	}
	s.mu.Lock()
	s.opened = true
	refused := s.refused()
	s.mu.Unlock()
	if refused {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.where(), store.ErrHalf), s.Close())
	}
	return s, nil
}

func checkPrefix(prefix string) error {
	if len(prefix) > 32 || strings.ContainsFunc(prefix, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	}) {
		return fmt.Errorf("prefix %.40q: want at most 32 letters, digits, _ and -", prefix)
	}
	return nil
}

// connect connects to the broker.
func (s *Store) connect(servers string, o *Options) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("dictwire " + s.front),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // what can't be sent now is not sent later
		nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			s.mu.Lock()
			if s.unsure = append(s.unsure, s.lastBlock); len(s.unsure) > maxUnsure {
				s.unsure = slices.Delete(s.unsure, maxUnsure/2, maxUnsure/2+1) // neither the oldest nor the newest
			}
			s.mu.Unlock()
			if err != nil {
				s.logger.Warn("the broker is gone", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { s.logger.Info("the broker is back", "node", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.logger.Warn("the broker", "err", err) }),
	}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if o.CA != "" {
		options = append(options, nats.RootCAs(o.CA))
	}
	if o.Certificate != "" || o.Key != "" {
		options = append(options, nats.ClientCert(o.Certificate, o.Key))
	}
	nc, err := nats.Connect(servers, options...)
	if bad := (*url.Error)(nil); errors.As(err, &bad) {
		return nil, fmt.Errorf("the broker's address: %w", bad.Err) // without the address, which may have a password
	}
	if err != nil {
		return nil, fmt.Errorf("%w: connecting to the broker: %w", store.ErrUnavailable, err)
	}
	return nc, nil
}

// where names the stream.
func (s *Store) where() string { return "stream " + s.prefix }

// Close ends all reads and claims. What comes later is store.ErrUnavailable.
func (s *Store) Close() error {
	if s.ctx.Err() == nil {
		s.leave()
	}
	s.mu.Lock() // who looks at ctx under it, and goes on, is waited for
	s.end(errClosed)
	s.mu.Unlock()
	s.work.Wait()
	s.nc.Close()
	return nil
}

// Limits implements [store.Store].
func (s *Store) Limits() store.Limits {
	// A block takes at most half of what a batch may have, and is not larger than what
	// readers should hold at once.
	l := store.Limits{Durability: s.durability(), BlockBytes: min(maxBatch/2*s.part(), 16<<20)}
	if s.keeps != nil {
		_, l.RejectedBytes = s.keeps(store.Rejected)
	}
	return l
}

func (s *Store) durability() store.Durability {
	switch {
	case s.replicas > 1 && s.synced:
		return store.ReplicatedFsync
	case s.replicas > 1:
		return store.Replicated
	case s.synced:
		return store.Fsync
	default:
		return store.OS
	}
}

// part is how many bytes a message may have beside its headers.
func (s *Store) part() int { return int(max(s.nc.MaxPayload(), minPayload)) - headerRoom }

// Ready implements [store.Store].
func (s *Store) Ready(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	_, err := s.barrierNow(ctx)
	return err
}

// open returns nil where the store is open and ctx goes on.
func (s *Store) open(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// until returns ctx with the end of the store, and with that of patience.
func (s *Store) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	ctx, end := context.WithTimeoutCause(ctx, patience, errPatience)
	return ctx, func() { stop(); end(); cancel(context.Canceled) }
}

// each calls do with all messages of a subject, in order, until it returns false or an
// error. Each request to the broker has a time-out of its own.
func (s *Store) each(ctx context.Context, subject string, do func(stored) (bool, error)) error {
	for from := uint64(1); ; {
		limit, end := s.until(ctx)
		all, err := s.some(limit, subject, from)
		err = s.wrong(limit, err)
		end()
		if err != nil || len(all) == 0 {
			return err
		}
		for _, m := range all {
			if more, err := do(m); err != nil || !more {
				return s.wrong(ctx, err)
			}
			from = m.seq + 1
		}
	}
}

// wrong returns err as methods return it: without what is the broker's own, every
// error says that the store is not available.
func (s *Store) wrong(ctx context.Context, err error) error {
	var limit *store.LimitError
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case errors.As(err, &limit), errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrPosition), errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrStale), errors.As(err, new(*store.LostError)):
		return err
	case ctx.Err() != nil && context.Cause(ctx) != errPatience:
		return context.Cause(ctx)
	default:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
}

// upToDate waits until all is known that was stored when it was called.
func (s *Store) upToDate(ctx context.Context) error {
	seq, err := s.barrierNow(ctx)
	if err != nil {
		return err
	}
	return s.heardOf(ctx, seq)
}

// A round is a barrier that several wait for.
type round struct {
	done chan struct{}
	seq  uint64
	err  error
}

// barrierNow stores a barrier, and returns its sequence: what had been stored before is
// before it. Callers that come while one is on its way share the next one.
func (s *Store) barrierNow(ctx context.Context) (uint64, error) {
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return 0, context.Cause(s.ctx)
	}
	r := s.round
	if r == nil {
		r = &round{done: make(chan struct{})}
		s.round = r
		s.work.Go(func() { s.runRound(r) })
	}
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.seq, s.wrong(ctx, r.err)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// runRound runs a round, once the one before has ended.
func (s *Store) runRound(r *round) {
	s.rounds.Lock()
	defer s.rounds.Unlock()
	s.mu.Lock()
	s.round = nil // who comes from now on is not answered by this one
	s.mu.Unlock()
	ctx, cancel := s.until(context.Background())
	defer cancel()
	tries := pace{}
	r.err = errPatience
	for tries.wait(ctx) {
		r.seq, r.err = s.publish(ctx, nil, message{subject: s.barrier(), rollup: true})
		if r.err == nil || !tries.again(r.err) {
			break
		}
	}
	close(r.done)
}

// encodeName and decodeName put any text into a header.
func encodeName(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decodeName(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return string(b), err
}
