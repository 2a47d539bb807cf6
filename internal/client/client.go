// Package client is the machinery of a client: for each topic a log of unsettled records and
// its session, the spool, and subscriptions.
package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/option"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/store"
)

// DefaultTopic is the topic of records whose sender names none.
const DefaultTopic = "default"

// Options are the fields of the public Dialer, which documents them.
type Options struct {
	Codec                  codec.Codec
	Limits                 codec.Limits
	Producer               string
	Token                  string
	TLS                    *tls.Config
	Spool                  spool.Spool
	AtSpool                bool
	AcceptLost             bool
	WindowRecords          int
	WindowBytes            int64
	MinBackoff, MaxBackoff time.Duration
	IdleTimeout            time.Duration
	OnReply                func(topic string, number uint64, reply *dict.Dict)
	OnState                func(State)
	MaxAge                 time.Duration
	Logger                 *slog.Logger
	DialContext            dialFunc

	Rejected   func(Rejection) error // makes the public error; required
	OnRejected func(error)           // gets what Rejected made
}

// A State is a change of a session: see the public one.
type State struct {
	Topics []string
	Reads  bool
	Err    error
}

// A Client sends dictionaries to a server, and reads them back.
type Client struct {
	o        Options
	addr     string  // as it was given: several with commas between
	servers  *choice // the same
	producer string
	codecs   map[string]codec.Codec
	checkers map[string]*checker
	waiters  sync.Pool // of *waiter

	window  window          // accepted records that are not settled or, with a spool, not in it yet
	atOnce  int             // limit of one append to the spool, in bytes
	flight  window          // records read from the spool that are not settled
	ctx     context.Context //nolint:containedctx // the client's life, which no call spans
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	appends sync.WaitGroup  // the goroutines that write to the spool
	append  context.Context //nolint:containedctx // the life of appends
	giveUp  context.CancelFunc
	lost    atomic.Int64 // records that will never be settled
	open    atomic.Int64 // sessions
	broken  atomic.Int64 // sessions that failed or broke, without repetitions in a row

	mu       sync.RWMutex
	senders  map[string]*sender     // guarded by mu, by topic
	spooled  map[string]spool.Topic // guarded by mu: the state of topics at the start
	spare    net.Conn               // guarded by mu: connected, for the first session
	closed   bool                   // guarded by mu
	failures []failure              // guarded by mu: errors for the next Flush
	more     int                    // guarded by mu: errors beyond maxFailures, counted only
}

// maxFailures is how many errors Flush returns in full.
const maxFailures = 100

// Dial returns a client of the server at addr. Without a spool and OnState, it opens a session
// first to see that a dictwire server answers.
func Dial(ctx context.Context, addr string, o Options) (*Client, error) {
	c, err := New(ctx, addr, o)
	if err != nil || o.Spool != nil || o.OnState != nil {
		return c, err
	}
	var remote *RemoteError
	err = c.Ping(ctx)
	if err == nil || errors.As(err, &remote) && remote.Fault.Code.Retryable() {
		return c, nil
	}
	return nil, errors.Join(err, c.Close())
}

// New returns a client of the server at addr. Without a spool, it connects first; the first
// session uses that connection.
func New(ctx context.Context, addr string, o Options) (*Client, error) {
	if o.Codec == nil {
		o.Codec = cbor.Codec{}
	}
	c := &Client{
		o: o, addr: addr, servers: newChoice(addr), producer: cmp.Or(o.Producer, "go") + "." + strings.ToLower(rand.Text()[:16]),
		codecs: wire.Codecs(o.Codec), checkers: make(map[string]*checker), atOnce: math.MaxInt,
		senders: make(map[string]*sender), spooled: make(map[string]spool.Topic),
	}
	if o.Spool != nil {
		c.producer = o.Spool.Producer()
	}
	if err := (store.Producer{Topic: DefaultTopic, Name: c.producer}).Check(); err != nil {
		return nil, fmt.Errorf("dictwire: %w", err)
	}
	for name, cd := range c.codecs {
		c.checkers[name] = &checker{codec: cd, limits: o.Limits}
	}
	for _, w := range []*window{&c.window, &c.flight} {
		w.maxRecords = bound(int64(o.WindowRecords), 65536)
		w.maxBytes = bound(o.WindowBytes, 16<<20)
	}
	c.o.MinBackoff = max(cmp.Or(o.MinBackoff, 50*time.Millisecond), 1)
	c.o.MaxBackoff = max(cmp.Or(o.MaxBackoff, 5*time.Second), c.o.MinBackoff)
	c.o.IdleTimeout = option.Timeout(o.IdleTimeout, time.Minute)
	c.o.AtSpool = o.AtSpool && o.Spool != nil
	c.append, c.giveUp = context.WithCancel(context.Background())
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	if s, ok := o.Spool.(interface{ MaxAppend() int64 }); ok {
		c.atOnce = int(min(s.MaxAppend(), int64(c.atOnce)))
	}
	if o.Spool != nil {
		if n, ok := o.Spool.(spool.Notifier); ok {
			n.Notify(c.inSpool)
		}
		if err := c.drain(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.spare = conn
	return c, nil
}

// bound returns a limit: the default for zero, the largest number for a negative value.
func bound(v, byDefault int64) int64 {
	if v < 0 {
		return math.MaxInt64
	}
	return cmp.Or(v, byDefault)
}

// within returns a context that ends with ctx or with life.
func within(ctx, life context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(context.Cause(life)) }
	if life.Err() != nil {
		end()
	}
	unhook := context.AfterFunc(life, end)
	return ctx, func() {
		unhook()
		cancel(nil)
	}
}

// connect connects to the server.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	conn := c.spare
	c.spare = nil
	c.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	return c.dialer().connect(ctx)
}

// spoolTimeout is how long Close waits for the spool.
const spoolTimeout = 10 * time.Second

// Producer returns the name of the producer that numbers the client's records.
func (c *Client) Producer() string { return c.producer }

// Send sends one dictionary to a topic and returns when it is settled.
func (c *Client) Send(ctx context.Context, topic string, v any) (reply *dict.Dict, err error) {
	s, err := c.sender(topic)
	if err != nil {
		return nil, notSentError{err}
	}
	w := c.newWaiter()
	if err := s.send(ctx, v, w); err != nil {
		return nil, notSentError{err}
	}
	select {
	case <-w.done:
		reply, err = w.reply, w.err
		c.free(w)
		return reply, err
	case <-ctx.Done():
		return s.giveUp(ctx, w)
	}
}

// SendAsync queues a dictionary to be sent to a topic.
func (c *Client) SendAsync(ctx context.Context, topic string, v any) error {
	s, err := c.sender(topic)
	if err == nil {
		err = s.send(ctx, v, nil)
	}
	if err != nil {
		return notSentError{err}
	}
	return nil
}

// Flush returns when all that was sent before to the topics is settled; none means all.
func (c *Client) Flush(ctx context.Context, topics ...string) error {
	var errs []error
	waiters := make(map[*sender]*waiter)
	all := c.all(topics)
	for _, s := range all {
		w := c.newWaiter()
		w.flush = true
		switch wait, err := s.flush(w); {
		case err != nil:
			errs = append(errs, err)
		case wait:
			waiters[s] = w
		}
	}
	for i, s := range all {
		w := waiters[s]
		if w == nil {
			continue
		}
		select {
		case <-w.done:
			if w.err != nil {
				errs = append(errs, w.err)
			}
			continue
		case <-ctx.Done():
		}
		for _, s := range all[i:] {
			if w := waiters[s]; w != nil {
				s.leave(w)
			}
		}
		errs = append(errs, fmt.Errorf("dictwire: flush: %w", context.Cause(ctx)))
		break
	}
	return errors.Join(append(c.takeFailures(topics), errs...)...)
}

// Close ends the client at once.
func (c *Client) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	spare := c.spare
	c.spare = nil
	c.mu.Unlock()
	if again {
		c.running.Wait()
		c.appends.Wait()
		return nil
	}
	if spare != nil {
		_ = spare.Close()
	}
	c.window.close()
	for _, s := range c.all(nil) {
		s.close()
	}
	c.cancel(ErrClosed)
	c.flight.close()
	c.running.Wait()
	late := time.AfterFunc(spoolTimeout, c.giveUp)
	c.appends.Wait()
	late.Stop()
	c.giveUp()
	if lost := c.lost.Load(); lost > 0 {
		return fmt.Errorf("dictwire: close: %s not settled", countOf(lost, "record"))
	}
	return nil
}

// sender returns the sender of a topic.
func (c *Client) sender(topic string) (*sender, error) {
	if topic == "" {
		topic = DefaultTopic
	}
	c.mu.RLock()
	s := c.senders[topic]
	c.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	if strings.HasPrefix(topic, "_") && topic != store.Rejected {
		return nil, fmt.Errorf("dictwire: topic %q: names that begin with _ are the server's own", topic)
	}
	if err := store.CheckTopic(topic); err != nil {
		return nil, fmt.Errorf("dictwire: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if s = c.senders[topic]; s == nil {
		s = newSender(c, topic, c.spooled[topic])
		c.senders[topic] = s
	}
	return s, nil
}

// all returns the senders of the given topics, in their order, or without any all senders.
func (c *Client) all(topics []string) []*sender {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make([]*sender, 0, len(c.senders))
	for _, s := range c.senders {
		if isOf(topics, s.topic) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *sender) int { return strings.Compare(a.topic, b.topic) })
	return all
}

// isOf reports whether a topic is one of topics, or topics is empty.
func isOf(topics []string, topic string) bool {
	return len(topics) == 0 || slices.Contains(topics, topic) || topic == DefaultTopic && slices.Contains(topics, "")
}

// failed notes an error for the next Flush of a topic.
func (c *Client) failed(topic string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failures) == maxFailures {
		c.more++
		return
	}
	c.failures = append(c.failures, failure{topic, err})
}

// A failure is an error of a topic for the next Flush.
type failure struct {
	topic string
	err   error
}

// takeFailures removes and returns the errors of the given topics, or without any all errors.
func (c *Client) takeFailures(topics []string) (errs []error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = slices.DeleteFunc(c.failures, func(f failure) bool {
		taken := isOf(topics, f.topic)
		if taken {
			errs = append(errs, f.err)
		}
		return taken
	})
	if c.more > 0 && len(topics) == 0 {
		errs = append(errs, fmt.Errorf("dictwire: %s more", countOf(int64(c.more), "error")))
		c.more = 0
	}
	return errs
}

// Limits returns the limits of one record.
func (c *Client) Limits() codec.Limits { return c.o.Limits }

// changed reports to OnState that a session has begun, or why there is none.
func (c *Client) changed(s State) {
	if s.Err != nil {
		c.broken.Add(1)
	}
	if c.o.OnState != nil {
		c.o.OnState(s)
	}
}

// logSession logs a change of a session, unless OnState gets it.
func (c *Client) logSession(level slog.Level, msg string, attrs ...any) {
	if c.o.OnState == nil {
		c.log(level, msg, attrs...)
	}
}

func (c *Client) log(level slog.Level, msg string, attrs ...any) {
	if c.o.Logger != nil {
		c.o.Logger.Log(c.ctx, level, msg, attrs...)
	}
}

// lastAttempt is the highest attempt of this process.
var lastAttempt atomic.Uint64

// clockAttempt returns an attempt for a greeting: the clock's microseconds, or the number after
// the last one returned, whichever is higher.
func clockAttempt() uint64 {
	for {
		last := lastAttempt.Load()
		next := max(uint64(time.Now().UnixMicro()), last+1)
		if lastAttempt.CompareAndSwap(last, next) {
			return next
		}
	}
}

// attempt returns an attempt for a writer's greeting, higher than all earlier ones.
func (c *Client) attempt(ctx context.Context) (uint64, error) {
	if c.o.Spool != nil {
		return c.o.Spool.Attempt(ctx)
	}
	return clockAttempt(), nil
}

// countOf returns "1 thing" or "2 things".
func countOf(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}
