package nats

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
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

// Options configures a store. Nil and the zero value mean the defaults.
type Options struct {
	// Prefix is the name of the stream and the first token of its subjects: at most 32
	// letters, digits, _ and -. Empty means "dictwire".
	Prefix string

	// Replicas is the number of replicas with which the stream is made: 1, 3 or 5. Zero
	// means 3.
	Replicas int

	// MaxBytes caps the size of the stream on each node, if Open makes it. A full stream
	// refuses all appends. Zero means no limit.
	MaxBytes int64

	// Synced declares that every node of the broker has the option sync_interval: always,
	// so that stored records survive a power failure of all nodes. The store can't ask the
	// broker.
	Synced bool

	// Credentials is a file with a user's credentials, as nsc writes it. CA is a file with
	// the certificates that sign those of the nodes. Certificate and Key are files with the
	// client's own. Empty means none.
	Credentials          string
	CA, Certificate, Key string

	// MaxTopics, MaxProducers and MaxCursors cap the number of each; one principal may have
	// half of it. Beyond that, a new one is refused with a *store.LimitError. Servers that
	// share a stream may exceed the limit slightly if they are asked at the same time. Zero
	// means 20,000, 4,000,000 and 100,000; negative means no limit.
	MaxTopics, MaxProducers, MaxCursors int

	// Keep returns the retention of a topic: the age and the bytes of records beyond which
	// its oldest blocks are trimmed; zero means no limit. It is called once a minute. Nil
	// keeps everything.
	Keep func(topic string) (age time.Duration, bytes uint64)

	// Import opens an incomplete copy of another store in order to continue it: see
	// store.Importer.
	Import bool

	// Unserved declares that this Store serves no clients: see Others.
	Unserved bool

	// Fatal is called when the stream has been deleted, purged, replaced or rolled back, so
	// that what this Store knows about it is void, and when the broker has closed the
	// connection for good. With nil, methods just return store.ErrUnavailable.
	Fatal func(error)

	// Logger logs when the connection to the broker is lost and restored. Nil discards the
	// messages.
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
	front    string // identifies this Store among those on the same stream
	logger   *slog.Logger
	fatal    func(error)
	clock    func() time.Time
	ahead    atomic.Int64 // how far the broker's clock is ahead of clock, in nanoseconds
	set      atomic.Bool  // ahead has been measured
	rooted   uint64       // sequence of the message with the tag
	keeps    func(topic string) (age time.Duration, bytes uint64)
	unserved bool // serves no clients
	imports  bool // continues a copy of another store

	ctx  context.Context //nolint:containedctx // the store's life
	end  context.CancelCauseFunc
	work sync.WaitGroup

	ofTopics, ofProducers, ofCursors *names.Quota

	acked atomic.Uint64 // sequence up to which readers of this Store must see

	mu        sync.Mutex
	seen      uint64                      // all messages up to this sequence have been processed; guarded by mu
	head      uint64                      // the position after the last block; guarded by mu
	lastBlock heard                       // guarded by mu
	unsure    []heard                     // lastBlock at each disconnect, until the block is seen again; guarded by mu
	newest    time.Time                   // time of the newest block; guarded by mu
	topics    map[string]*topic           // guarded by mu
	trimmed   uint64                      // the largest topic.to; guarded by mu
	recent    []recent                    // the last blocks; guarded by mu
	recentAll uint64                      // recent has all blocks from this position on; guarded by mu
	producers map[string]bool             // known producers, by the first half of their hash; guarded by mu
	cursorsOf map[string]bool             // existing cursors, by their hash; guarded by mu
	changed   chan struct{}               // closed when seen has grown; guarded by mu
	writing   map[string]*writing         // by the producer's hash; guarded by mu
	cursors   map[string]*cursor          // cursors claimed here, by their hash; guarded by mu
	shrinkage map[string]*store.Shrinkage // by topic; guarded by mu
	fences    map[string]*fences          // for claims in progress, by the hash of the name; guarded by mu
	hearing   func()                      // ends the current hear, or nil; guarded by mu
	round     *round                      // the next barrier, not sent yet; guarded by mu
	half      bool                        // the stream is an incomplete copy of another store; guarded by mu
	opened    bool                        // Open has caught up with the stream; guarded by mu
	step      step                        // the last step of a copy that was made here; guarded by mu

	rounds   sync.Mutex    // held while a barrier is in flight
	trimming chan struct{} // held during a trim

	writers claims.Table[string]
	readers claims.Table[string]
}

var errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)

// Open opens the store at a broker, whose nodes have addresses such as
// "nats://a:4222,b:4222". It makes the stream if there is none. The caller must call Close.
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
	if err := errors.Join(checkPrefix(s.prefix), checkReplicas(s.replicas)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx) // a violation ends Open
	defer cancel(nil)
	nc, err := s.connect(servers, o, cancel)
	if err != nil {
		return nil, err
	}
	if s.conn, err = newConn(nc, s.prefix, s.logger); err != nil {
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
		return nil, errors.Join(fmt.Errorf("%s: reading the stream: %w", s.where(), err), s.Close())
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

func checkReplicas(n int) error {
	if n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("%d replicas: want 1, 3 or 5", n)
	}
	return nil
}

// connect connects to the broker. It calls violation if the user lacks a permission.
func (s *Store) connect(servers string, o *Options, violation func(error)) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("dictwire " + s.front),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // what can't be sent now fails at once
		nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			s.mu.Lock()
			if s.unsure = append(s.unsure, s.lastBlock); len(s.unsure) > maxUnsure {
				s.unsure = slices.Delete(s.unsure, maxUnsure/2, maxUnsure/2+1) // keep the oldest and the newest
			}
			s.mu.Unlock()
			if err != nil {
				s.logger.Warn("lost the connection to the broker", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			s.logger.Info("connected to the broker again", "node", nc.ConnectedUrlRedacted())
			s.hearAgain()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.logger.Warn("error from the broker", "err", err)
			if errors.Is(err, nats.ErrPermissionViolation) {
				violation(setup("a user needs the rights to publish to "+s.all()+" and $JS.API.>, and to subscribe to _INBOX.>", "the user lacks a right: %w", err))
			}
		}),
	}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if o.CA != "" {
		options = append(options, nats.RootCAs(o.CA))
	}
	if (o.Certificate == "") != (o.Key == "") {
		return nil, errors.New("one of Options.Certificate and Options.Key is missing")
	}
	if o.Certificate != "" {
		options = append(options, nats.ClientCert(o.Certificate, o.Key))
	}
	nc, err := nats.Connect(servers, options...)
	if bad := (*url.Error)(nil); errors.As(err, &bad) {
		return nil, fmt.Errorf("the broker's address: %w", bad.Err) // the address may contain a password
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", unconnected(err))
	}
	return nc, nil
}

// unconnected says what may help against an error of a connection that was not made.
func unconnected(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.As(err, new(*net.DNSError)):
		return setup("look after the nodes and their addresses, such as nats://a:4222,b:4222", "%w: no node can be reached: %w", store.ErrUnavailable, err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return setup("the user's name and password are in the address, as nats://user:password@a:4222, or the user is in the file Options.Credentials", "%w", err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return setup("configure tls in the nodes, or use nats:// instead of tls://", "%w", err)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return setup("Options.CA is a file with the certificates that sign those of the nodes", "%w", err)
	case errors.Is(err, nats.ErrTLS):
		return setup("the nodes may want a certificate of their clients, Options.Certificate and Options.Key", "%w", err)
	case errors.Is(err, fs.ErrNotExist):
		return err
	default:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
}

// where names the stream in error texts.
func (s *Store) where() string { return "stream " + s.prefix }

// Close ends all reads and claims. Later calls return store.ErrUnavailable.
func (s *Store) Close() error {
	if s.ctx.Err() == nil {
		s.leave()
	}
	s.mu.Lock() // wait for those who checked ctx under mu
	s.end(errClosed)
	s.mu.Unlock()
	s.work.Wait()
	s.nc.Close()
	return nil
}

// Limits implements [store.Store].
func (s *Store) Limits() store.Limits {
	// A block takes at most half of a batch, and is not larger than what a reader should
	// buffer at once.
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

// part returns the most bytes of data that a message may have.
func (s *Store) part() int { return int(max(s.nc.MaxPayload(), minPayload)) - headerRoom }

// Ready implements [store.Store].
func (s *Store) Ready(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	_, err := s.barrierNow(ctx)
	return err
}

// open returns an error if the store is closed or ctx has ended.
func (s *Store) open(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// until returns a copy of ctx that also ends when the store ends, or after patience.
func (s *Store) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	ctx, end := context.WithTimeoutCause(ctx, patience, errPatience)
	return ctx, func() { stop(); end(); cancel(context.Canceled) }
}

// each calls do with every message of a subject, in order, until it returns false or an
// error. Each request to the broker has its own time-out.
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

// wrong maps err to the error that a method returns: the errors of package store stay as
// they are, and every other one is wrapped in store.ErrUnavailable.
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

// upToDate waits until this server has processed everything that was stored when it was
// called.
func (s *Store) upToDate(ctx context.Context) error {
	seq, err := s.barrierNow(ctx)
	if err != nil {
		return err
	}
	return s.heardOf(ctx, seq)
}

// A round is a barrier that several callers wait for.
type round struct {
	done chan struct{}
	seq  uint64
	err  error
}

// barrierNow stores a barrier and returns its sequence. Everything stored earlier has a
// smaller one. Callers that arrive while a barrier is in flight share the next one.
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

// runRound sends a barrier once the one before has been answered.
func (s *Store) runRound(r *round) {
	s.rounds.Lock()
	defer s.rounds.Unlock()
	s.mu.Lock()
	s.round = nil // later callers need a new round
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

// encodeName and decodeName make any text safe for a header.
func encodeName(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decodeName(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return string(b), err
}
