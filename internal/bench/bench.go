// Package bench puts load on a server, and measures how many records it settles and how
// long that takes: on dictwire in several dialects, and on other servers.
//
// All of them share one load generator, so that its own cost is the same everywhere: it has
// the records ready, keeps a number of them in flight, and notes when each batch was sent.
// A client library would be measured as well, so each target implements the few lines of
// its protocol that the load needs, and nothing else.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Options says what to send, where to, and how fast.
type Options struct {
	Target Target
	Token  string // for dictwire
	Topic  string // the topic in dictwire, or what another server has instead, such as a stream or a table
	Topics int    // connections are spread over NAME.0, NAME.1 and so on; 0 means the topic alone
	Dial   func(context.Context) (net.Conn, error)

	Records *Records

	// Connections is the number of connections, and InFlight how many unsettled records
	// each may have.
	Connections, InFlight int

	// Followers is the number of additional sessions that read what arrives, for dictwire.
	Followers int

	// Bare asks for no acknowledgements, if the target allows that.
	Bare bool

	// Rate is how many records to send per second over all connections, whether or not the
	// server keeps up. Their latency counts from the time at which each was due. Zero means
	// that each connection sends as soon as some of its records are settled.
	Rate float64

	Duration time.Duration
}

// A Result is a measurement.
type Result struct {
	Records  uint64        // settled or, without acknowledgements, read by the server
	Rejected uint64        // of Records
	Bytes    uint64        // of Records
	Read     uint64        // by all followers together
	Elapsed  time.Duration // from the first record to the last answer

	// Latency is the latency of records, in microseconds. Nil if nothing is acknowledged.
	Latency *hdrhistogram.Histogram
}

// Rate returns the records settled per second.
func (r *Result) Rate() float64 { return float64(r.Records) / r.Elapsed.Seconds() }

// A conn is a connection to a server.
type conn interface {
	// send writes records.
	send(records [][]byte) error

	// settle reads answers, and returns how many records they settle, and how many of those
	// were refused. It may run concurrently with send.
	settle() (settled, refused int, err error)

	// end is called after the last send. If nothing is acknowledged, it returns when the
	// server has read everything.
	end() error
}

const (
	// drainTime is how long to wait at the end for records in flight.
	drainTime = 2 * time.Minute

	// dialTime is how long a connection may take to open.
	dialTime = 30 * time.Second

	// maxSend is how many records are sent at once if each has its own answer.
	maxSend = 1024

	shards = 16 // of latencies

	maxLatency = int64(10 * time.Minute / time.Microsecond)
)

// A run is a measurement in progress.
type run struct {
	*Options
	began   time.Time
	until   time.Time
	settled atomic.Uint64
	refused atomic.Uint64
	readers *followers
	last    atomic.Int64 // time of the last answer since began
	shards  [shards]shard
}

// A shard holds the latencies of some connections.
type shard struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram
}

// every returns the interval between records on one connection, or 0 without a rate.
func (r *run) every() time.Duration {
	if r.Rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) * float64(r.Connections) / r.Rate)
}

// Run runs the load, and calls progress, unless it is nil, every second. If a connection
// fails, the run ends with its error.
func Run(ctx context.Context, o Options, progress func(*Result)) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{Options: &o}
	for i := range r.shards {
		r.shards[i].hist = hdrhistogram.New(1, maxLatency, 3)
	}
	links, err := r.connect(ctx)
	defer func() {
		for _, l := range links {
			_ = l.nc.Close() // nothing is in progress any more
		}
	}()
	if err != nil {
		return nil, err
	}
	if r.readers, err = follow(ctx, r.Options, cancel); err != nil {
		return nil, err
	}
	defer r.readers.end()
	defer context.AfterFunc(ctx, func() {
		for _, l := range links {
			_ = l.nc.Close() // ends its reads and writes
		}
	})()

	r.began = time.Now()
	r.until = r.began.Add(o.Duration)
	var working sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			cancel(err)
		}
	}
	for i, l := range links {
		working.Go(func() { fail(r.write(ctx, l, i)) })
		if !o.Bare {
			working.Go(func() { fail(r.read(l, i)) })
		}
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }()
	late := time.NewTimer(o.Duration + drainTime)
	defer late.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-done:
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			return r.result(time.Duration(r.last.Load())), nil
		case <-late.C:
			cancel(r.unsettled(links))
		case <-look.C:
			if progress != nil {
				progress(r.result(time.Since(r.began)))
			}
		}
	}
}

// Upper limits of the options.
const (
	MaxConnections = 1 << 16
	MaxInFlight    = 1 << 20
	MaxRate        = 1e9
)

// Check validates the options.
func (o *Options) Check() error {
	switch {
	case o.Connections < 1 || o.Connections > MaxConnections:
		return fmt.Errorf("want 1 to %d connections", MaxConnections)
	case o.InFlight < 1 || o.InFlight > MaxInFlight:
		return fmt.Errorf("want 1 to %d records in flight", MaxInFlight)
	case o.Rate < 0 || o.Rate > MaxRate || math.IsNaN(o.Rate):
		return fmt.Errorf("want a rate of 0 to %.0f records a second", MaxRate)
	case o.Topics < 0 || o.Topics > o.Connections:
		return errors.New("want at most as many topics as connections")
	case o.Followers < 0 || o.Followers > MaxConnections:
		return fmt.Errorf("want 0 to %d followers", MaxConnections)
	case o.Target.Addr != "" && (o.Topics > 0 || o.Followers > 0):
		return fmt.Errorf("topics and followers are dictwire's, not those of %s", o.Target.Name)
	case o.Duration <= 0:
		return errors.New("want a duration of more than 0s")
	case o.Bare && !o.Target.bare:
		return fmt.Errorf("%s acknowledges everything", o.Target.Name)
	case !o.Bare && !o.Target.acks:
		return fmt.Errorf("%s acknowledges nothing: Options.Bare does without", o.Target.Name)
	case o.Target.format != "" && o.Records.Format != o.Target.format:
		return fmt.Errorf("%s takes records of %s", o.Target.Name, o.Target.format)
	}
	return nil
}

// connect opens all connections, several at a time.
func (r *run) connect(ctx context.Context) ([]*link, error) {
	links := make([]*link, r.Connections)
	errs := make([]error, r.Connections)
	slots := make(chan struct{}, 64)
	var dialing sync.WaitGroup
	for i := range links {
		slots <- struct{}{}
		dial := func() {
			defer func() { <-slots }()
			if links[i], errs[i] = r.open(ctx, i); errs[i] == nil {
				_ = links[i].nc.SetDeadline(time.Now().Add(r.Duration + 2*drainTime))
			}
		}
		if i == 0 { // it makes what the others use
			if dial(); errs[0] != nil {
				return nil, errs[0]
			}
			continue
		}
		dialing.Go(dial)
	}
	dialing.Wait()
	var open []*link
	for _, l := range links {
		if l != nil {
			open = append(open, l)
		}
	}
	return open, errors.Join(errs...)
}

// A link is a connection and its records in flight.
type link struct {
	nc net.Conn
	conn

	mu      sync.Mutex
	changed sync.Cond
	sent    uint64  // guarded by mu
	settled uint64  // guarded by mu
	over    bool    // no more is sent; guarded by mu
	failed  bool    // nothing more is settled; guarded by mu
	batches []batch // in flight, oldest first; guarded by mu
}

// unsettled returns the error of a run that did not end in time.
func (r *run) unsettled(links []*link) error {
	if r.Bare {
		return fmt.Errorf("the server did not read everything within %v of the end", drainTime)
	}
	n := uint64(0)
	for _, l := range links {
		l.mu.Lock()
		n += l.sent - l.settled
		l.mu.Unlock()
	}
	return fmt.Errorf("%d records in flight at the end were not settled within %v", n, drainTime)
}

// A batch is records that were sent together.
type batch struct {
	n    int
	sent time.Duration // since the run began
}

func (r *run) open(ctx context.Context, i int) (*link, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	nc, err := r.Dial(dialing)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(dialTime)) // the first write on a dead connection fails
	o := *r.Options
	if o.Topics > 0 {
		o.Topic = fmt.Sprintf("%s.%d", o.Topic, i%o.Topics)
	}
	c, err := r.Target.open(nc, &o, i)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", r.Target.Name, err), nc.Close())
	}
	l := &link{nc: nc, conn: c}
	l.changed.L = &l.mu
	return l, nil
}

// write sends until the time is over.
func (r *run) write(ctx context.Context, l *link, i int) error {
	defer l.finish()
	at, every := r.Records.begin(i), r.every()
	for sent := 0; time.Now().Before(r.until) && ctx.Err() == nil; {
		n := r.InFlight
		if !r.Bare {
			if n = l.room(r.InFlight); n == 0 {
				return nil
			}
		}
		if !r.Target.whole {
			n = min(n, maxSend)
		}
		if every > 0 {
			due := int(time.Since(r.began)/every) + 1 - sent
			if due <= 0 {
				pause(ctx, min(time.Until(r.began.Add(time.Duration(sent)*every)), time.Until(r.until)))
				continue
			}
			n = min(n, due)
		}
		var records [][]byte
		records, at = r.Records.take(at, n)
		if !r.Bare {
			l.sending(len(records), time.Since(r.began))
		}
		if err := l.send(records); err != nil {
			return err
		}
		sent += len(records)
		if r.Bare {
			r.settled.Add(uint64(len(records)))
		}
	}
	if !r.Bare {
		return nil
	}
	err := l.end()
	r.answered()
	return err
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	}
}

// answered records the time of an answer.
func (r *run) answered() {
	now := int64(time.Since(r.began))
	for {
		last := r.last.Load()
		if now <= last || r.last.CompareAndSwap(last, now) {
			return
		}
	}
}

// room waits until records may be sent, and returns how many. It returns 0 if the
// connection has failed.
func (l *link) room(inFlight int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for int(l.sent-l.settled) >= inFlight && !l.failed {
		l.changed.Wait()
	}
	if l.failed {
		return 0
	}
	return inFlight - int(l.sent-l.settled)
}

// sending records that n records are being sent.
func (l *link) sending(n int, at time.Duration) {
	l.mu.Lock()
	l.sent += uint64(n)
	l.batches = append(l.batches, batch{n, at})
	l.changed.Broadcast()
	l.mu.Unlock()
}

// finish records that nothing more will be sent.
func (l *link) finish() {
	l.mu.Lock()
	l.over = true
	l.changed.Broadcast()
	l.mu.Unlock()
}

// fail records that nothing more will be settled.
func (l *link) fail() {
	l.mu.Lock()
	l.failed = true
	l.changed.Broadcast()
	l.mu.Unlock()
}

// await waits until records are in flight, and reports whether there are any.
func (l *link) await() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.sent == l.settled && !l.over {
		l.changed.Wait()
	}
	return l.sent > l.settled
}

// read reads answers until everything is settled.
func (r *run) read(l *link, i int) error {
	defer l.fail() // nobody reads answers any more
	every, shard := r.every(), &r.shards[i%shards]
	var done []batch
	for l.await() {
		n, refused, err := l.settle()
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		now := time.Since(r.began)
		var first uint64
		if first, done, err = l.take(n, done[:0]); err != nil {
			return err
		}
		r.settled.Add(uint64(n))
		r.refused.Add(uint64(refused))
		shard.mu.Lock()
		for _, b := range done {
			if every == 0 {
				_ = shard.hist.RecordValues(micros(now-b.sent), int64(b.n))
			} else { // counted from when each was due
				for k := range b.n {
					_ = shard.hist.RecordValue(micros(now - time.Duration(first+uint64(k))*every))
				}
			}
			first += uint64(b.n)
		}
		shard.mu.Unlock()
		r.answered()
	}
	return l.end()
}

// micros returns a latency in microseconds, capped at the maximum.
func micros(d time.Duration) int64 {
	return min(max(int64(math.Ceil(float64(d)/float64(time.Microsecond))), 1), maxLatency)
}

// take removes n records from those in flight. It returns the number of the first one, and
// when they were sent.
func (l *link) take(n int, done []batch) (first uint64, _ []batch, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uint64(n) > l.sent-l.settled {
		return 0, nil, fmt.Errorf("%d records are settled, and %d are in flight", n, l.sent-l.settled)
	}
	first = l.settled
	l.settled += uint64(n)
	taken := 0
	for n > 0 {
		b := &l.batches[taken]
		some := min(b.n, n)
		done = append(done, batch{some, b.sent})
		n -= some
		if b.n -= some; b.n == 0 {
			taken++
		}
	}
	l.batches = append(l.batches[:0], l.batches[taken:]...)
	l.changed.Broadcast()
	return first, done, nil
}

// result returns the measurement so far.
func (r *run) result(elapsed time.Duration) *Result {
	so := &Result{Records: r.settled.Load(), Rejected: r.refused.Load(), Read: r.readers.read.Load(), Elapsed: elapsed}
	so.Bytes = uint64(float64(so.Records) * r.Records.Mean())
	if r.Bare {
		return so
	}
	so.Latency = hdrhistogram.New(1, maxLatency, 3)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		so.Latency.Merge(s.hist)
		s.mu.Unlock()
	}
	return so
}
