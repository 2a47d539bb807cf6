package dialect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/lease"
	"github.com/dictwire/dictwire/internal/option"
)

// Rules are what all connections of a server share.
type Rules struct {
	Memory        *lease.Budget // for what is being received
	Building      *lease.Pot    // for what is built of records
	Reading       *lease.Budget // for what is being given to readers
	Turns         *lease.Turns  // of the processors
	MaxRecord     int           // bytes
	FirstTimeout  time.Duration // until the first byte
	OpenTimeout   time.Duration // for the first bytes to tell the protocol, and for a greeting
	IdleTimeout   time.Duration
	RecordTimeout time.Duration
	WriteTimeout  time.Duration
}

const (
	firstBuffer = 4 << 10   // what a connection starts with when bytes come
	busyBuffer  = 64 << 10  // what it may grow to because bytes come fast
	knownBuffer = 256 << 10 // the same, of a known peer

	lingerTime = time.Second            // silence after which an idle connection gives its buffer back
	quietTime  = 100 * time.Millisecond // silence that ends a connection of a server that drains
	drainTime  = time.Second            // when it ends without silence, at a record's end
	pressTime  = time.Second            // how often a record's progress is looked at
	stallTime  = 2 * time.Second        // how often a reader's progress is, while others wait for memory
	minRate    = 4 << 10                // bytes a second that a record or a reader must make while others wait for memory
)

// A Holder is memory that a dialect holds for a connection beside its buffer: a
// codec.Scanner.
type Holder interface {
	Scratch() int // in bytes
	Release()
}

// A Conn is a connection as a dialect sees it: bytes that have come, and a way
// to wait for more within the server's rules. An idle Conn holds no buffer.
//
// Its methods belong to one goroutine, except those that say otherwise.
type Conn struct {
	// Codec is what the peer is told its errors in. Nil means JSON, on a line.
	Codec codec.Codec

	// Beat, where not nil, is called by More when nothing was written for
	// BeatEvery.
	Beat      func() error
	BeatEvery time.Duration

	// MaxMessage is how many bytes may be buffered at once, where that is more than a
	// record.
	MaxMessage int

	// Patient says that the peer may be silent between records for ever.
	Patient bool

	nc    net.Conn
	host  *lease.Host
	rules *Rules
	lease *lease.Lease
	known atomic.Bool // see SetKnown
	work  *lease.Turn // of the connection's goroutine

	buf    []byte // leased; nil while idle
	beside int64  // what of the lease is for other memory
	r, w   int    // buf[r:w] has come and was not discarded
	high   int    // the most of buf that was in use lately
	full   bool   // the last read filled buf
	busy   int    // how large buf may become because bytes come fast
	read   int64  // bytes read since the connection began

	tiny [64]byte // where an idle connection's first bytes come

	deadline time.Time // what the read deadline was set to last
	idle     time.Time // since when the peer is silent between records
	protocol Protocol  // as Sniff found out
	sniffing bool      // the record in hand is what Sniff waits for
	greeting bool      // or it is a greeting
	began    time.Time // when the record in hand began; zero between records
	pressed  time.Time // when its progress was looked at last
	pressAt  int64     // and what read was then
	drainBy  time.Time // when a draining connection ends; zero before it knows

	wrapped
	output
	draining atomic.Bool
	ended    atomic.Pointer[error] // by End
	gaveWay  atomic.Bool           // by GiveWay
	resume   atomic.Int64          // when the peer is to be read on, likewise; see Pause
	spoke    atomic.Int64          // when the peer spoke last, in nanoseconds since 1970; 0: never
	ending   chan struct{}         // closed by the first Drain or End
	over     chan struct{}         // closed by End
	endOnce  sync.Once
}

// NewConn returns the connection nc under the given rules.
func NewConn(nc net.Conn, rules *Rules) *Conn {
	host := rules.Turns.Host(hostOf(nc.RemoteAddr()))
	return &Conn{nc: nc, wrapped: wrapped{top: nc}, host: host, rules: rules, busy: busyBuffer, lease: rules.Memory.Lease(host), work: host.Turn(), ending: make(chan struct{}), over: make(chan struct{}), output: output{mu: make(turn, 1), flushed: time.Now()}}
}

// SetProtocol says what the connection speaks, where Sniff need not find out.
func (c *Conn) SetProtocol(p Protocol) { c.protocol = p }

// Protocol returns what the connection speaks, as Sniff found out.
func (c *Conn) Protocol() Protocol { return c.protocol }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Buffered returns the bytes that have come and were not discarded. They are
// valid until the next call of Discard or More.
func (c *Conn) Buffered() []byte { return c.buf[c.r:c.w] }

// Discard drops the first n buffered bytes. What stands behind them is another
// record, which has its own time.
func (c *Conn) Discard(n int) {
	c.r += n
	if n > 0 {
		c.began = time.Time{}
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// Offset returns how many bytes came before the first one that is buffered.
func (c *Conn) Offset() int64 { return c.read - int64(c.w-c.r) }

// Silent reports whether no byte has come.
func (c *Conn) Silent() bool { return c.read == 0 }

// More waits until more bytes are buffered. within says that a record has
// begun: it must then end within the record time-out. Otherwise the connection
// is idle, and gives back its memory and h's if that takes long.
//
// It returns io.EOF at the end of what the peer sends, an *[fault.Error] where a rule
// is broken, ErrDrained where the server ends and this connection may end here,
// or an error of the connection.
func (c *Conn) More(ctx context.Context, within bool, h Holder) error {
	c.work.End()
	if err := c.Flush(); err != nil {
		return err
	}
	if !within {
		c.began, c.idle = time.Time{}, time.Now()
	} else if c.began.IsZero() {
		c.began = time.Now()
		c.pressed, c.pressAt = c.began, c.read
	}
	if err := c.paused(ctx, within, h); err != nil {
		return err
	}
	if err := c.room(ctx, within, h); err != nil {
		return err
	}
	for began := time.Now(); ; {
		if e := c.ended.Load(); e != nil {
			return *e
		}
		wait, expired := c.patience(within, began)
		if expired != nil {
			return expired
		}
		beat, err := c.beat()
		if err != nil {
			return err
		}
		c.arm(min(wait, beat))
		into := c.tiny[:]
		if c.buf != nil {
			into = c.buf[c.w:]
		}
		n, err := c.top.Read(into)
		if n > 0 {
			return c.came(ctx, n)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.waited(within, h); err != nil {
				return err
			}
		case err == io.EOF, err == io.ErrUnexpectedEOF && c.tls != nil:
			// The latter is a peer that ends TLS without saying so, as many do. What it
			// sent is not promised to be all; neither is it without TLS.
			return io.EOF
		case err == nil: // nothing yet
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			return fmt.Errorf("dialect: read: %w", err)
		}
	}
}

// Pause makes More wait until a moment before it reads on. The peer is not to be read
// faster than it may send. Any goroutine may call it.
func (c *Conn) Pause(until time.Time) { c.resume.Store(until.UnixNano()) }

// paused waits where Pause has said so, unless the connection is about to end. It gives
// back the memory that nothing is in.
func (c *Conn) paused(ctx context.Context, within bool, h Holder) error {
	before, resume := time.Now(), time.Unix(0, c.resume.Load())
	if !resume.After(before) {
		return nil
	}
	if !within && c.buf != nil {
		c.release(h)
	}
	for now := before; now.Before(resume) && c.Ended() == nil; now = time.Now() {
		beat, err := c.beat()
		if err != nil {
			return err
		}
		awake := time.NewTimer(min(resume.Sub(now), beat))
		select {
		case <-awake.C:
		case <-c.ending:
		case <-ctx.Done():
		}
		awake.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	c.excuse(before)
	if !within {
		c.idle = time.Now()
	}
	return nil
}

// OpenTimeout returns how long a handshake may take.
func (c *Conn) OpenTimeout() time.Duration { return c.rules.OpenTimeout }

// Greet says whether the record in hand is a greeting.
func (c *Conn) Greet(is bool) { c.greeting = is }

// Sniff waits for as many bytes as tell the protocol, without discarding them.
// active, where not nil, is called when the first byte has come; false ends the
// connection. Beyond Sniff's and More's errors it returns io.EOF for a
// connection that ends without a byte, or white space alone.
func (c *Conn) Sniff(ctx context.Context, active func() bool) (p Protocol, err error) {
	c.sniffing = true
	defer func() { c.sniffing, c.protocol = false, p }()
	for {
		b := c.Buffered()
		if len(b) > 0 && active != nil {
			if !active() {
				return Unknown, io.EOF
			}
			active = nil
		}
		p, err := Sniff(b)
		if !errors.Is(err, codec.ErrIncomplete) {
			return p, err
		}
		err = c.More(ctx, len(b) > 0, nil)
		if err == nil {
			continue
		}
		var f *fault.Error
		switch {
		case errors.As(err, &f) && f.Code == fault.Idle:
			if _, refusal := sniff(b, true); errors.As(refusal, &f) {
				return Unknown, f // what has come has a name
			}
			return Unknown, err
		case err != io.EOF || len(bytes.TrimLeft(b, " \t\r\n")) == 0:
			return Unknown, err
		}
		if p, err = sniff(b, true); errors.Is(err, codec.ErrIncomplete) {
			err = &fault.Error{Code: fault.Truncated, Text: "the connection ended before its first bytes told a protocol"}
		}
		return p, err
	}
}

// SetKnown says whether the peer's records were good so far, or what it has read:
// then it waits neither for its turn nor for a buffer after those whose were not,
// and may have a larger one. Any goroutine may call it.
func (c *Conn) SetKnown(known bool) {
	c.lease.SetKnown(known)
	c.known.Store(known)
}

// Known reports whether the peer does not wait for its turn: SetKnown said so, or it is
// a reader that has taken a lot. Any goroutine may call it.
func (c *Conn) Known() bool { return c.known.Load() || c.hasTaken.Load() }

// ErrDrained is what [Conn.More] returns where the server ends and nothing of
// this connection is under way.
var ErrDrained = errors.New("dialect: the server is shutting down")

// room makes room for at least one more byte, except on an idle connection
// without a buffer.
func (c *Conn) room(ctx context.Context, within bool, h Holder) error {
	size := len(c.buf)
	if size == 0 {
		return nil
	}
	beside := c.held()
	if h != nil {
		beside += int64(h.Scratch())
	}
	c.high = max(c.high, c.w)
	if c.busy = busyBuffer; c.known.Load() { // many may have work, and its turn comes seldom
		c.busy = knownBuffer
	}
	charge := c.lease.Size() - c.beside // for buf: its size, or more where a record was promised it
	switch {
	case c.full && size < c.busy && c.lease.TryResize(int64(2*size)+beside):
		size *= 2 // bytes come fast
		charge = int64(size)
	case c.w == 0 && size > firstBuffer && c.high < size/4:
		size /= 2 // too large for what comes
		charge = int64(size)
		c.high = 0
	case c.w < size:
		if !within {
			charge = int64(size)
		}
	case c.r >= c.w-c.r: // moving is cheaper than what was read since
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default:
		size, charge = c.larger(size, charge)
	}
	// A buffer that is larger than what lies in it is not waited for.
	for charge == int64(size) && charge+beside > c.lease.Size() && size > firstBuffer && c.w-c.r < size/2 &&
		!c.lease.TryResize(charge+beside) {
		size /= 2
		charge = int64(size)
	}
	if c.beside = beside; charge+beside != c.lease.Size() {
		before := time.Now()
		if err := c.lease.Resize(ctx, charge+beside); err != nil {
			return err
		}
		c.excuse(before)
	}
	if size != len(c.buf) {
		c.resize(size)
	}
	return nil
}

// larger returns the size that a buffer gets that a record has outgrown, and what is
// to be charged for it, of which some is.
func (c *Conn) larger(size int, charge int64) (int, int64) {
	// A record never outgrows the limit: its scanner refuses it before.
	limit := max(size+firstBuffer, c.MaxMessage, c.rules.MaxRecord+firstBuffer)
	size = min(2*size, limit)
	charge = max(charge, int64(size))
	if size > lease.Small {
		// One that is large is promised at once all that it may need, within
		// reason. If it took it by and by, many halves could wait for each other.
		charge = max(charge, min(int64(limit), c.rules.Memory.Share()))
	}
	return size, charge
}

// resize moves what is buffered to a buffer of another size, which has been
// leased.
func (c *Conn) resize(size int) {
	var buf []byte
	if size > 0 {
		buf = getBuffer(size)
		c.w = copy(buf, c.buf[c.r:c.w])
		c.r = 0
	}
	putBuffer(c.buf)
	c.buf = buf
}

// came takes note of n bytes that were read.
func (c *Conn) came(ctx context.Context, n int) error {
	c.read += int64(n)
	if c.buf != nil {
		c.w += n
		c.full = c.w == len(c.buf)
	} else {
		if err := c.lease.Resize(ctx, firstBuffer); err != nil {
			return err
		}
		c.resize(firstBuffer)
		c.w = copy(c.buf, c.tiny[:n])
	}
	before := time.Now()
	err := c.begin(ctx, c.work)
	c.excuse(before)
	return err
}

// excuse takes it off the record's time that it has waited since a moment for the
// server: for memory, or for its turn.
func (c *Conn) excuse(since time.Time) {
	now := time.Now()
	if waited := now.Sub(since); waited > time.Millisecond && !c.began.IsZero() {
		c.began = c.began.Add(waited)
		c.pressed, c.pressAt = now, c.read
	}
}

// begin begins a goroutine's turn, where it needs one.
func (c *Conn) begin(ctx context.Context, t *lease.Turn) error {
	if c.Known() {
		t.Known()
		return nil
	}
	return c.unlessOver(t.Begin(ctx, c.over))
}

// unlessOver returns what End was told where that is why a turn did not begin.
func (c *Conn) unlessOver(err error) error {
	if err == lease.ErrStopped {
		return *c.ended.Load()
	}
	return err
}

// Rest ends the turn of the connection's goroutine, which is about to wait.
func (c *Conn) Rest() { c.work.End() }

// A Worker is a goroutine that does what the peer asks for, in turns of its own.
type Worker struct {
	c    *Conn
	turn *lease.Turn
}

// Own returns the worker that is the connection's goroutine.
func (c *Conn) Own() *Worker { return &Worker{c, c.work} }

// Worker returns a worker that is another goroutine, for a dialect that does several
// things of a connection at once. Any goroutine may call it.
func (c *Conn) Worker() *Worker { return &Worker{c, c.host.Turn()} }

// Begin waits for the goroutine's turn, where it needs one.
func (w *Worker) Begin(ctx context.Context) error { return w.c.begin(ctx, w.turn) }

// BeginLong waits until the goroutine may do what may take long, until Rest. It must
// hold no memory for building.
func (w *Worker) BeginLong(ctx context.Context) error {
	if w.c.Known() {
		return nil
	}
	return w.c.unlessOver(w.turn.BeginLong(ctx, w.c.over))
}

// Rest ends the goroutine's turn. It is about to wait.
func (w *Worker) Rest() { w.turn.End() }

// patience says how long the next read may wait, or why none may. Nothing has come
// since a time.
func (c *Conn) patience(within bool, silent time.Time) (time.Duration, error) {
	draining := c.draining.Load()
	limit, _ := c.idleLimit()
	if draining && c.drainBy.IsZero() {
		c.drainBy = time.Now().Add(drainTime)
	}
	switch {
	case within:
		now, limit := time.Now(), c.rules.RecordTimeout
		if c.sniffing || c.greeting {
			limit = min(limit, c.rules.OpenTimeout)
		}
		left := limit - now.Sub(c.began)
		if left <= 0 && c.sniffing {
			return 0, &fault.Error{Code: fault.Idle, Text: fmt.Sprintf("the first bytes tell no protocol, and no more came within %v", limit)}
		}
		if left <= 0 && c.greeting {
			return 0, tooLate(c.Offset(), "greeting", limit, "Server.OpenTimeout")
		}
		if left <= 0 {
			return 0, tooLate(c.Offset(), "record", limit, "Server.RecordTimeout")
		}
		isSilent := now.Sub(silent) >= pressTime
		if since := now.Sub(c.pressed); since >= pressTime || isSilent {
			slow := isSilent || float64(c.read-c.pressAt) < minRate*since.Seconds()
			c.pressed, c.pressAt = now, c.read
			if slow && c.rules.Memory.Pressed() {
				return 0, tooSlow(c.Offset())
			}
		}
		return min(left, pressTime), nil
	case draining:
		if time.Now().After(c.drainBy) {
			return 0, ErrDrained
		}
		return quietTime, nil
	case c.buf != nil:
		return min(lingerTime, limit), nil
	case c.Patient:
		return option.Never, nil
	default:
		return max(limit-c.silence(), 0), nil
	}
}

// idleLimit returns how long the peer may be silent now, and the option that says so.
func (c *Conn) idleLimit() (limit time.Duration, option string) {
	if c.sniffing && c.rules.FirstTimeout < c.rules.IdleTimeout {
		return c.rules.FirstTimeout, "Server.FirstTimeout"
	}
	return c.rules.IdleTimeout, "Server.IdleTimeout"
}

func tooLate(at int64, what string, limit time.Duration, option string) *fault.Error {
	return &fault.Error{
		Code: fault.Rate, At: at,
		Text: fmt.Sprintf("the %s did not end within %v", what, limit),
		Hint: option + " raises the limit",
	}
}

func tooSlow(at int64) *fault.Error {
	return &fault.Error{
		Code: fault.Rate, At: at,
		Text: "the record came too slowly while others waited for memory",
		Hint: "Server.MaxMemory raises the limit",
	}
}

// silence is how long the peer has been silent between records. One who takes
// what is sent is not, but for what is sent to hear whether he is there.
func (c *Conn) silence() time.Duration {
	since := time.Since(c.idle)
	if c.Beat == nil {
		since = min(since, c.quiet())
	}
	return since
}

// beat calls Beat where it is time, and returns how long it is until then.
func (c *Conn) beat() (time.Duration, error) {
	if c.Beat == nil {
		return option.Never, nil
	}
	left := c.BeatEvery - c.quiet()
	if left > 0 {
		return left, nil
	}
	if err := c.Beat(); err != nil {
		return 0, err
	}
	return c.BeatEvery, c.Flush()
}

// waited says what follows from a read that waited as long as it might.
func (c *Conn) waited(within bool, h Holder) error {
	limit, option := c.idleLimit()
	switch {
	case within:
		return nil // patience looks at the record's time
	case c.draining.Load():
		if c.drainBy.IsZero() {
			return nil // this was Drain, which woke the read up
		}
		return ErrDrained
	case c.buf != nil:
		if c.Beat == nil || time.Since(c.idle) >= lingerTime {
			c.release(h)
		}
		return nil
	case c.Patient || c.silence() < limit:
		return nil // it was time to beat, or the peer took something
	default:
		return &fault.Error{
			Code: fault.Idle, At: c.Offset(),
			Text: fmt.Sprintf("nothing came for %v", limit),
			Hint: option + " raises the limit",
		}
	}
}

// release gives back the buffer, which is empty, and all other memory.
func (c *Conn) release(h Holder) {
	if h != nil {
		h.Release()
	}
	c.resize(0)
	c.drop()
	c.high, c.beside = 0, 0
	c.lease.Shrink(0)
}

// arm sets the read deadline, unless it is about right already: to set it costs
// more than to let it pass a little early.
func (c *Conn) arm(wait time.Duration) {
	now := time.Now()
	if left := c.deadline.Sub(now); left > wait/2 && left <= wait && !c.draining.Load() {
		return
	}
	c.deadline = now.Add(wait)
	_ = c.nc.SetReadDeadline(c.deadline) // a connection that is gone fails the read
	if c.draining.Load() && c.drainBy.IsZero() || c.ended.Load() != nil {
		_ = c.nc.SetReadDeadline(now) // Drain or End came between
	}
}

// Drain makes the connection end at the next record's end: at once if nothing
// is under way. It may be called from any goroutine.
func (c *Conn) Drain() {
	c.draining.Store(true)
	c.endOnce.Do(func() { close(c.ending) })
	if !c.hijacked.Load() {
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// End makes More and Send return err, at once where they wait. It may be called
// from any goroutine, and only the first time counts.
func (c *Conn) End(err error) {
	if c.ended.CompareAndSwap(nil, &err) {
		close(c.over)
		c.endOnce.Do(func() { close(c.ending) })
		_ = c.nc.SetWriteDeadline(time.Now()) // first: whoever reads may tell the peer why
		_ = c.nc.SetReadDeadline(time.Now())
	}
}

// Spoke notes that the peer has spoken: it has opened a session, sent a record or a
// commit, or taken what it asked for. Bytes alone are nothing, and neither are
// beats. Any goroutine may call it.
func (c *Conn) Spoke() { c.spoke.Store(time.Now().UnixNano()) }

// LastSpoke returns when the peer spoke last, the zero time where it never has. It
// may be called from any goroutine.
func (c *Conn) LastSpoke() time.Time {
	if t := c.spoke.Load(); t != 0 {
		return time.Unix(0, t)
	}
	return time.Time{}
}

// GiveWay ends the connection, as End does, in favour of another one: its peer is
// told e, if it listens. It may be called from any goroutine.
func (c *Conn) GiveWay(e *fault.Error) {
	c.gaveWay.Store(true)
	c.End(e)
}

// GaveWay reports whether the connection was ended by GiveWay.
func (c *Conn) GaveWay() bool { return c.gaveWay.Load() }

// Ending is closed by the first Drain or End.
func (c *Conn) Ending() <-chan struct{} { return c.ending }

// Ended returns what End was told, ErrDrained behind Drain, or nil.
func (c *Conn) Ended() error {
	if e := c.ended.Load(); e != nil {
		return *e
	}
	if c.draining.Load() {
		return ErrDrained
	}
	return nil
}

// Abort closes the connection at once. It may be called from any goroutine.
func (c *Conn) Abort() error { return c.nc.Close() }
