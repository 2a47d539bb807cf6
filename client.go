package dictwire

import (
	"cmp"
	"context"
	"crypto/rand"
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
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/internal/option"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// Send sends one dictionary to the server's default topic, and returns when it
// is settled. v is a [*dict.Dict], or a Go map or struct as [dict.From] converts
// it. reply is what the server's handler replies, or nil; a rejection is a
// *[RejectedError]. A program that sends more makes a [Client].
func Send(ctx context.Context, addr string, v any) (reply *dict.Dict, err error) {
	c, err := Dial(ctx, addr)
	if err != nil {
		return nil, notSentError{err}
	}
	defer c.Close() // what is not settled, Send has said
	return c.Send(ctx, DefaultTopic, v)
}

// A Dialer makes clients. The zero Dialer is ready to use.
type Dialer struct {
	// Codec is the format that dictionaries are sent in. Nil means JSON.
	Codec codec.Codec

	// Limits bound one record, sent or received.
	Limits codec.Limits

	// Producer is what the client's producer is called: the beginning of its
	// name, behind which random letters make it the client's own. It is at most
	// 100 bytes of printable ASCII without spaces; "" means "go". Where there is
	// a spool, the name is the spool's.
	Producer string

	// Token says to the server who sends and reads. A server of this version
	// asks nobody, and passes over it.
	Token string

	// Spool keeps every record before its first byte is sent. Nil means that
	// what is not settled is lost with the client.
	Spool Spool

	// AtSpool makes Send and Flush return when records are in the spool. What
	// the server says against them later is told to OnRejected, or by a later
	// Flush. Without a spool it means nothing.
	AtSpool bool

	// AcceptLost goes on where the server has less than it acknowledged, or
	// records of the spool are damaged, in place of ErrLost and ErrDamaged. It is
	// logged. Those who wait for a damaged record, and the next Flush, are told
	// ErrDamaged all the same.
	AcceptLost bool

	// WindowRecords and WindowBytes bound what is sent and not settled, over
	// all topics. Beyond them Send and SendAsync wait. Zero means 65,536
	// records and 16 MiB, negative no limit.
	WindowRecords int
	WindowBytes   int64

	// MinBackoff and MaxBackoff bound the pause before a connection is tried
	// again. Each pause is up to twice the one before, and random in part. Zero
	// means 50 milliseconds and 5 seconds.
	MinBackoff, MaxBackoff time.Duration

	// IdleTimeout is how long a topic's connection is kept when all is settled.
	// Zero means 1 minute, negative no limit.
	IdleTimeout time.Duration

	// OnRejected is told of each rejected record that no Send waits for, in
	// place of Flush. Calls for one topic come one after the other, and hold up
	// what else is settled there: it must not wait for the client. The same holds
	// for OnReply.
	OnRejected func(*RejectedError)

	// OnReply is told what a handler replies to a record that no Send waits
	// for. Nil means that nobody wants to know.
	OnReply func(topic string, number uint64, reply *dict.Dict)

	// OnSession is called when a session with the server has begun, with nil, and
	// when one can't be made or has broken, with the first error in a row: then
	// it is tried again. Who sets it wants to tell people, so that Logger is not
	// told of sessions, nor of what ends a topic for good: Flush and later calls
	// return that. It is called by one goroutine for each topic and each
	// subscription, which it holds up; it must not wait for the client.
	OnSession func(err error)

	// Logger is told of connections that break, and of losses. Nil means that
	// nothing is logged. It should not be one that sends with this client.
	Logger *slog.Logger

	// DialContext connects: network is tcp or unix. Nil means a [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Client sends dictionaries to a server, and reads them back, over native
// sessions. Any number of goroutines may use it at once.
//
// There is one connection for each topic in use. One that breaks is made again,
// and what was not settled is sent again under the same numbers: while the
// client lives, each record gets into the store once. With a spool that holds
// beyond its life.
type Client struct {
	d        Dialer
	addr     string
	producer string
	codecs   map[string]codec.Codec
	checkers map[string]*checker
	waiters  sync.Pool // of *waiter

	window  window          // records that were accepted; with a spool, until they are in it
	atOnce  int             // most bytes that the spool takes at once
	flight  window          // records that were read from the spool and are not settled
	ctx     context.Context //nolint:containedctx // the client's life, which no call spans
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	appends sync.WaitGroup  // the goroutines that write to the spool
	append  context.Context //nolint:containedctx // of theirs
	giveUp  context.CancelFunc
	lost    atomic.Int64 // records that will never be settled

	mu       sync.RWMutex
	senders  map[string]*sender    // guarded by mu, by topic
	spooled  map[string]SpoolTopic // guarded by mu: where topics stood at the start
	spare    net.Conn              // guarded by mu: connected and not used yet
	closed   bool                  // guarded by mu
	failures []error               // guarded by mu: what the next Flush returns
	more     int                   // guarded by mu: and how many it does not
}

// maxFailures is how many errors Flush returns in full.
const maxFailures = 100

// Dial connects to the server at addr: host:port or unix:PATH; the empty addr is
// [DefaultAddr]. See [Dialer.Dial].
func Dial(ctx context.Context, addr string) (*Client, error) { return Dialer{}.Dial(ctx, addr) }

// Dial returns a client of the server at addr: see [Dial]. Without a spool it is
// an error where nobody can be reached there; once it was, connections are tried
// until they succeed. With a spool it is not, and what the spool holds is sent as
// soon as it can be.
func (d Dialer) Dial(ctx context.Context, addr string) (*Client, error) {
	if d.Codec == nil {
		d.Codec = json.Codec{}
	}
	c := &Client{
		d: d, addr: addr, producer: cmp.Or(d.Producer, "go") + "." + strings.ToLower(rand.Text()[:16]),
		codecs: wire.Codecs(d.Codec), checkers: make(map[string]*checker), atOnce: math.MaxInt,
		senders: make(map[string]*sender), spooled: make(map[string]SpoolTopic),
	}
	if d.Spool != nil {
		c.producer = d.Spool.Producer()
	}
	if err := (store.Producer{Topic: DefaultTopic, Name: c.producer}).Check(); err != nil {
		return nil, fmt.Errorf("dictwire: %w", err)
	}
	for name, cd := range c.codecs {
		c.checkers[name] = &checker{codec: cd, limits: d.Limits}
	}
	for _, w := range []*window{&c.window, &c.flight} {
		w.maxRecords = bound(int64(d.WindowRecords), 65536)
		w.maxBytes = bound(d.WindowBytes, 16<<20)
	}
	c.d.MinBackoff = max(cmp.Or(d.MinBackoff, 50*time.Millisecond), 1)
	c.d.MaxBackoff = max(cmp.Or(d.MaxBackoff, 5*time.Second), c.d.MinBackoff)
	c.d.IdleTimeout = option.Timeout(d.IdleTimeout, time.Minute)
	c.d.AtSpool = d.AtSpool && d.Spool != nil
	c.append, c.giveUp = context.WithCancel(context.Background())
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	if s, ok := d.Spool.(interface{ MaxAppend() int64 }); ok {
		c.atOnce = int(min(s.MaxAppend(), int64(c.atOnce)))
	}
	if d.Spool != nil {
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

// bound returns a bound: what stands for zero, or none for what is negative.
func bound(v, byDefault int64) int64 {
	if v < 0 {
		return math.MaxInt64
	}
	return cmp.Or(v, byDefault)
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
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	dial := c.d.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	network, where, err := address.Dial(c.addr)
	if err != nil {
		return nil, err
	}
	conn, err = dial(ctx, network, where)
	if err != nil {
		return nil, fmt.Errorf("dictwire: can't connect to %s: %w", where, address.Cause(err))
	}
	return conn, nil
}

const (
	connectTimeout = 10 * time.Second
	spoolTimeout   = 10 * time.Second // how long Close waits for the spool
)

// Producer returns the name under which the client's records take their
// numbers.
func (c *Client) Producer() string { return c.producer }

// Send sends one dictionary to a topic and returns when it is settled: durable
// there, or durable among the rejected ones, which is a *[RejectedError]. v is a
// [*dict.Dict], a Go map or struct as [dict.From] converts it, or a [Record].
// reply is what the server's handler replies, or nil; a reply may be lost with a
// connection, and one that the client's format can't hold is a
// *[fault.Error] with the code loss, of a record that is settled; one beyond the Limits is a
// *[codec.SyntaxError], likewise. The empty topic is [DefaultTopic].
//
// An error that wraps ErrNotSent says that the record was not taken, as where ctx had
// ended before, or v can't be sent. Where ctx ends later, the error is its cause
// alone: the client goes on to send the record, and what becomes of it is told by
// [Client.Flush] and [Dialer.OnRejected]. Where a topic can't go on, the error wraps
// ErrLost, ErrConflict, ErrFenced, ErrProtocol or a *[fault.Error]; and
// ErrClientClosed where the client is closed meanwhile. A record that was taken
// before that may be settled or not.
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

// SendAsync takes a dictionary to be sent to a topic, as [Client.Send] does, and
// does not wait until it is settled: it waits only while the window is full. v is
// no longer needed when it returns. What becomes of the record is told by
// [Client.Flush] and [Dialer.OnRejected]. Each error wraps ErrNotSent: the record was
// not taken.
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

// Flush returns when all that was sent before is settled, over all topics; with
// [Dialer.AtSpool], when it is in the spool. Where there is a spool, that is all
// that it holds.
//
// Its error joins a *[RejectedError] for each record that was rejected since the
// Flush before it and that no Send waited for, unless there is an OnRejected; and
// why topics can't go on.
func (c *Client) Flush(ctx context.Context) error {
	var errs []error
	waiters := make(map[*sender]*waiter)
	all := c.all()
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
	return errors.Join(append(c.takeFailures(), errs...)...)
}

// Close ends the client at once: it does not wait until records are settled, as
// Flush does. Calls that wait return ErrClientClosed. The error says how many
// records were not settled and are lost. With a spool, what was sent is put
// there first.
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
	for _, s := range c.all() {
		s.close()
	}
	c.cancel(ErrClientClosed)
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
	if err := store.CheckTopic(topic); err != nil {
		return nil, fmt.Errorf("dictwire: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClientClosed
	}
	if s = c.senders[topic]; s == nil {
		s = newSender(c, topic, c.spooled[topic])
		c.senders[topic] = s
	}
	return s, nil
}

// all returns all senders, by topic.
func (c *Client) all() []*sender {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make([]*sender, 0, len(c.senders))
	for _, s := range c.senders {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *sender) int { return strings.Compare(a.topic, b.topic) })
	return all
}

// failed notes an error for the next Flush.
func (c *Client) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failures) == maxFailures {
		c.more++
		return
	}
	c.failures = append(c.failures, err)
}

func (c *Client) takeFailures() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := c.failures
	if c.more > 0 {
		errs = append(errs, fmt.Errorf("dictwire: %s more", countOf(int64(c.more), "error")))
	}
	c.failures, c.more = nil, 0
	return errs
}

// Pending returns the number of records that were taken to be sent and are not
// settled; with [Dialer.AtSpool], that are not in the spool.
func (c *Client) Pending() int64 { return c.window.records.Load() + c.lost.Load() }

// session tells that a session has begun, or why there is none.
func (c *Client) session(err error) {
	if c.d.OnSession != nil {
		c.d.OnSession(err)
	}
}

// logSession logs what is told otherwise where there is an OnSession.
func (c *Client) logSession(level slog.Level, msg string, attrs ...any) {
	if c.d.OnSession == nil {
		c.log(level, msg, attrs...)
	}
}

func (c *Client) log(level slog.Level, msg string, attrs ...any) {
	if c.d.Logger != nil {
		c.d.Logger.Log(context.Background(), level, msg, attrs...)
	}
}

// lastAttempt is the highest attempt of this process.
var lastAttempt atomic.Uint64

// clockAttempt returns a number for a greeting: the microseconds of the clock,
// above all that it returned before.
func clockAttempt() uint64 {
	for {
		last := lastAttempt.Load()
		next := max(uint64(time.Now().UnixMicro()), last+1)
		if lastAttempt.CompareAndSwap(last, next) {
			return next
		}
	}
}

// attempt returns a number for a writer's greeting, above all before it.
func (c *Client) attempt(ctx context.Context) (uint64, error) {
	if c.d.Spool != nil {
		return c.d.Spool.Attempt(ctx)
	}
	return clockAttempt(), nil
}

// countOf says how many things there are.
func countOf(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}
