// Package server is the machinery of the public Server: connections, sessions, what
// becomes of records, and readers.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/lease"
	"github.com/dictwire/dictwire/internal/option"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// ErrClosed is what Serve returns after [Server.Shutdown] or [Server.Close].
var ErrClosed = errors.New("dictwire: the server is closed")

// A Server receives dictionaries. Its options and their defaults are documented at the
// public Server.
type Server struct {
	Handler       func(context.Context, Request) (*dict.Dict, error)
	Schema        func(topic string) func(*dict.Dict) error // nil, or a nil result: records may be anything
	Authorize     access.Authorizer                         // nil: all peers are store.Anonymous and may do everything
	Store         store.Store
	Topic         string         // has no default
	Dialects      []dialect.Kind // in addition to those that every server speaks
	JSON          json.Codec
	Codecs        []codec.Codec // in addition to those that every server speaks
	Limits        codec.Limits
	MaxConns      int // see slots
	MaxHostConns  int
	MaxMemory     int64 // 5/8 for received bytes, 1/4 for what is built of them, 1/8 for readers
	MaxRecordRate int64 // per principal and second
	MaxByteRate   int64 // per principal and second
	FirstTimeout  time.Duration
	OpenTimeout   time.Duration
	IdleTimeout   time.Duration
	RecordTimeout time.Duration
	WriteTimeout  time.Duration
	Logger        *slog.Logger

	HandlerTimeout time.Duration
	HandlerRetries int

	BackupDir string // "": peers can't ask for backups
	Version   string // of the program

	once     sync.Once
	rules    dialect.Rules                 // without time-outs
	timed    atomic.Pointer[dialect.Rules] // rules with time-outs, for new connections
	store    store.Store
	codecs   map[string]codec.Codec // by name
	dialects dialects
	quota    quota
	followed followed
	cursors  *cursorClaims
	slots    *slots
	ctx      context.Context //nolint:containedctx // the server's life, which no call spans
	cancel   context.CancelCauseFunc
	stats    counters
	started  time.Time
	listing  chan struct{} // see list
	backups  sync.Mutex    // held during a backup

	handlerTimeout time.Duration // of one call; 0: no limit
	handlerRetries int

	logged logRate // limits lines about peers
	denied paced   // limits lines about denials; see deny
	wrong  paced   // delays peers with wrong credentials; see slowDown
	rates  rates   // limits what principals send

	mu        sync.Mutex
	listeners map[net.Listener]struct{}  // guarded by mu
	conns     map[*dialect.Conn]struct{} // guarded by mu
	ending    chan struct{}              // closed under mu by Shutdown and Close
	running   sync.WaitGroup             // one for each connection; Add under mu before ending
}

// limits returns the limits of one record, which must fit into a block of the store.
func (s *Server) limits() codec.Limits {
	l := s.Limits
	l.RecordBytes = min(l.Effective().RecordBytes, s.store.Limits().BlockBytes)
	return l
}

// keptForKnown returns how much of the memory for receiving is kept for known peers, since
// strangers that wait for turns may hold all the rest: a quarter, but of the first 4 MiB,
// which hold few large buffers in any case, next to nothing.
func keptForKnown(receiving int64) int64 {
	return max(receiving/16, (receiving-4<<20)/4)
}

// setup applies the defaults.
func (s *Server) setup() {
	s.once.Do(func() {
		total := s.MaxMemory
		if total <= 0 {
			total = option.Memory
		}
		if s.store = s.Store; s.store == nil {
			s.store = memory.New(nil)
		}
		limits := s.limits().Effective()
		s.codecs = wire.Codecs(append(slices.Clip(s.Codecs), s.JSON)...)
		s.dialects.build(s)
		large, receiving := 2*int64(limits.RecordBytes), total-total/4-total/8
		s.rules = dialect.Rules{
			Memory:    lease.NewBudget(receiving, large),
			Building:  lease.NewPot(total / 4),
			Reading:   lease.NewBudget(total/8, large),
			Turns:     lease.NewTurns(),
			MaxRecord: limits.RecordBytes,
		}
		s.timed.Store(s.timeouts(s.rules))
		s.handlerTimeout = max(cmp.Or(s.HandlerTimeout, option.HandlerTime), 0)
		s.handlerRetries = max(cmp.Or(s.HandlerRetries, option.HandlerTries), 0)
		s.rules.Memory.KeepForKnown(keptForKnown(receiving))
		s.wrong.atOnce = 4 * time.Second
		s.rates.atOnce = time.Second
		s.rates.set(s.MaxRecordRate, s.MaxByteRate)
		s.slots = newSlots(cmp.Or(s.MaxConns, option.Conns), cmp.Or(s.MaxHostConns, option.HostConns))
		s.ctx, s.cancel = context.WithCancelCause(context.Background())
		s.ending = make(chan struct{})
		s.started, s.listing = time.Now(), make(chan struct{}, 2)
		s.cursors = newCursorClaims()
		s.listeners = make(map[net.Listener]struct{})
		s.conns = make(map[*dialect.Conn]struct{})
	})
}

// Serve accepts connections at an endpoint and serves each in its own goroutine. It
// returns when the listener fails, or [ErrClosed] after [Server.Shutdown] or
// [Server.Close]; the listener is then closed. It may be called for several endpoints at
// once.
func (s *Server) Serve(e Endpoint) error {
	at, err := s.open(e)
	if err != nil {
		return err
	}
	if e.Once {
		return s.serveOne(e.Listener, at)
	}
	return s.accept(e.Listener, at, nil)
}

// serveOne serves the first connection at an endpoint that sends something, and returns
// when that connection has ended. Connections that end without a byte, and native
// sessions that only greet, do not count. All other connections are closed. The listener
// is closed as soon as there is such a connection, or as in Serve.
func (s *Server) serveOne(l net.Listener, at *endpoint) error {
	var (
		mu    sync.Mutex
		conns = make(map[*dialect.Conn]struct{}) // open ones; guarded by mu
		first *dialect.Conn                      // the one that counts; guarded by mu
		done  = make(chan struct{})              // closed when it has ended
	)
	err := s.accept(l, at, func(c *dialect.Conn) {
		mu.Lock()
		conns[c] = struct{}{}
		if first != nil { // accepted before first was known: too late
			_ = c.Abort()
		}
		mu.Unlock()
		s.serve(c, at, func() bool {
			mu.Lock()
			defer mu.Unlock()
			if first != nil {
				return false
			}
			first = c
			_ = l.Close()
			for other := range conns {
				if other != c {
					_ = other.Abort()
				}
			}
			return true
		})
		mu.Lock()
		defer mu.Unlock()
		delete(conns, c)
		if first == c {
			close(done)
		}
	})
	mu.Lock()
	served := first != nil
	mu.Unlock()
	if served {
		<-done
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
	}
	return err
}

// accept accepts the connections of an endpoint's listener l until the listener fails. Each
// is served by serve, or if that is nil, by the server's method.
func (s *Server) accept(l net.Listener, at *endpoint, serve func(*dialect.Conn)) error {
	defer l.Close()
	s.mu.Lock()
	if s.hasEnded() {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()

	var (
		pause time.Duration
		told  time.Time // when it was last logged that accepting fails
	)
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.hasEnded() {
				return ErrClosed
			}
			if !passing(err) {
				return fmt.Errorf("dictwire: accept: %w", err)
			}
			s.slots.makeRoom()
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if now := time.Now(); now.Sub(told) > tellAccept {
				s.log(slog.LevelError, "can't accept a connection for now", "error", err, "pause", pause)
				told = now
			}
			select {
			case <-time.After(pause):
			case <-s.ending:
			}
			continue
		}
		pause = 0
		c := dialect.NewConn(nc, s.timed.Load())
		place := s.slots.enter(c, s.ending)
		if place == nil || !s.begin(c) {
			_ = nc.Close()
			return ErrClosed
		}
		h := &held{s: s, place: place, at: at, serve: serve}
		go h.hold()
	}
}

// A held is a connection that was accepted. Its goroutine has little on the stack, which must
// be small while the connection is idle: see [dialect.Serving].
type held struct {
	s     *Server
	place *slot
	at    *endpoint
	serve func(*dialect.Conn) // nil: [Server.serve]
}

// hold waits for the connection's place, and serves the connection there.
func (h *held) hold() {
	switch has := h.s.slots.wait(h.place, h.s.ending); {
	case !has:
		h.s.turnAway(h.place.c, h.at)
		h.s.end(h.place.c)
		return
	case h.serve != nil:
		h.serve(h.place.c)
	default:
		h.intake().serve()
	}
	h.s.slots.leave(h.place)
	h.s.end(h.place.c)
}

// intake returns the intake of the connection.
//
//go:noinline
func (h *held) intake() *intake { return newIntake(h.s, h.place.c, h.at, nil) }

// begin registers a connection. It reports false if the server is ending.
func (s *Server) begin(c *dialect.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hasEnded() {
		return false
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) end(c *dialect.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.LeaveHost()
	s.running.Done()
}

func (s *Server) hasEnded() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}

// Shutdown ends the server without losing what has arrived. It stops listening, finishes
// the records in progress, closes each connection as soon as it is silent, or after a
// second at the end of a record, and returns when all are closed. If ctx ends first, it
// returns the error of ctx, and the remaining connections go on until [Server.Close].
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop((*dialect.Conn).Drain)
	done := make(chan struct{})
	go func() {
		s.dialects.shutdown(ctx, s.log)
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel(ErrClosed)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the server at once: it closes all listeners and connections, cancels the
// contexts of the handlers, and waits for them to return.
func (s *Server) Close() error {
	s.stop(func(c *dialect.Conn) { _ = c.Abort() })
	s.cancel(ErrClosed)
	s.running.Wait()
	return nil
}

// stop closes the listeners and calls each for every connection.
func (s *Server) stop(each func(*dialect.Conn)) {
	s.setup()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasEnded() {
		close(s.ending)
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		each(c)
	}
}

// tellAccept is the interval at which failures to accept are logged.
const tellAccept = 10 * time.Second

// passing reports whether an error of Accept is transient.
func passing(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Stats are counters of a server: see the public ones.
type Stats struct {
	Connections, Open        int64
	Records, Rejected, Bytes int64
	Receiving, Reading       int64
	ByDialect                map[string]int64
	RejectedBy               map[fault.Code]int64
}

type counters struct {
	connections, records, rejected, bytes atomic.Int64

	mu       sync.Mutex
	dialects map[string]int64     // guarded by mu
	codes    map[fault.Code]int64 // guarded by mu
}

// rejectedBy counts rejected records by code.
func (c *counters) rejectedBy(codes []fault.Code) {
	if len(codes) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codes == nil {
		c.codes = make(map[fault.Code]int64)
	}
	for _, code := range codes {
		c.codes[code]++
	}
}

// spoken counts a connection by dialect.
func (c *counters) spoken(dialect string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialects == nil {
		c.dialects = make(map[string]int64)
	}
	c.dialects[dialect]++
}

// Stats returns the counters since the server started.
func (s *Server) Stats() Stats {
	s.setup()
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	return Stats{
		Connections: s.stats.connections.Load(),
		Records:     s.stats.records.Load(),
		Rejected:    s.stats.rejected.Load(),
		Bytes:       s.stats.bytes.Load(),
		Open:        int64(open),
		ByDialect:   maps.Clone(s.stats.dialects), RejectedBy: maps.Clone(s.stats.codes),
		Receiving: s.rules.Memory.InUse(), Reading: s.rules.Reading.InUse(),
	}
}
