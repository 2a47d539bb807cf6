package dialect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/lease"
)

const (
	writeBuffer = 4 << 10               // this many waiting bytes are written at once
	flushTime   = time.Millisecond      // how long fewer bytes may wait
	wayTime     = 50 * time.Millisecond // write time-out of a connection that gives way, or has ended
)

// An output is the writing side of a connection.
type output struct {
	mu      turn         // held while writing
	out     []byte       // bytes waiting to be written
	flushed time.Time    // the last write
	broken  error        // why nothing more can be written: a message was cut off
	given   atomic.Int64 // bytes that a reader has taken: see took
	prompt
}

// A turn is a mutex that may be held for long, while waiting for the peer. It is a
// channel of capacity 1, because in a bubble of testing/synctest no time passes while a
// goroutine waits for a sync.Mutex.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// quiet returns the time since the last write.
func (o *output) quiet(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now.Sub(o.flushed)
}

// held returns how many bytes of memory the waiting output takes.
func (o *output) held() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(cap(o.out))
}

// drop frees the memory if nothing is waiting. Another goroutine may have called Say and
// not flushed yet.
func (o *output) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.out) == 0 {
		o.out = nil
	}
}

// Reply sends d in the given codec, as Write does.
func (c *Conn) Reply(cd codec.Codec, d *dict.Dict) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.open()
	out, err := cd.Append(c.out, d)
	if err != nil {
		c.out = c.out[:at]
		return err
	}
	c.out = append(out, cd.Terminator()...)
	c.shut(at, true)
	return c.mayFlush()
}

// A Message is something that can be written to a peer.
type Message interface {
	Append(dst []byte) []byte
}

// Data is bytes that follow a message.
type Data struct {
	Bytes []byte
	Text  bool // for connections that carry messages: it is text
}

// Say sends a message and the data that follow it. More writes them at the latest. Any
// goroutine may call it.
func (c *Conn) Say(m Message, data ...Data) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.open()
	c.out = m.Append(c.out)
	c.shut(at, true)
	for _, d := range data {
		at := c.open()
		c.out = append(c.out, d.Bytes...)
		c.shut(at, d.Text)
	}
	return c.mayFlush()
}

// maxHeader is the longest header of a message: see [Framer].
const maxHeader = 10

// open begins a message at the end of the waiting output, and returns its offset. c.mu is
// held.
func (c *Conn) open() int {
	at := len(c.out)
	if c.frames != nil {
		c.out = append(c.out, make([]byte, maxHeader)...)
	}
	return at
}

// shut ends the message that began at an offset. c.mu is held.
func (c *Conn) shut(at int, text bool) {
	if c.frames == nil {
		return
	}
	body := c.out[at+maxHeader:]
	if text {
		body = bytes.TrimSuffix(body, []byte("\n"))
	}
	c.out = append(c.frames.AppendHeader(c.out[:at], text, len(body)), body...)
}

// Write is Say for bytes that are sent as they are.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, p...)
	return len(p), c.mayFlush()
}

// mayFlush flushes if much is waiting, or has waited for long. c.mu is held.
func (c *Conn) mayFlush() error {
	if len(c.out) < writeBuffer && time.Since(c.flushed) < flushTime {
		return nil
	}
	return c.flush()
}

// Flush writes the waiting output. Any goroutine may call it.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

// flush is Flush. c.mu is held.
func (c *Conn) flush() error {
	if c.broken != nil {
		c.out = nil
	}
	if len(c.out) == 0 {
		return c.broken
	}
	c.flushed = time.Now()
	var err error
	if c.top == c.nc {
		_, err = c.promptly(c.out)
	} else {
		_, err = c.top.Write(c.out)
	}
	if c.out = c.out[:0]; cap(c.out) > writeBuffer {
		c.out = nil
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.broken = fmt.Errorf("dialect: the peer did not read its replies for %v", c.rules.WriteTimeout)
	case err != nil:
		c.broken = fmt.Errorf("dialect: write: %w", err)
	}
	return c.broken
}

// promptly writes a reply to the innermost connection, below all wrappers. If End is called
// meanwhile, which sets the write deadline, the peer has wayTime left.
func (c *Conn) promptly(p []byte) (int, error) {
	deadline := time.Now().Add(c.haste())
	_ = c.nc.SetWriteDeadline(deadline)
	n, err := c.nc.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && c.ended.Load() != nil && time.Now().Before(deadline) {
		_ = c.nc.SetWriteDeadline(time.Now().Add(wayTime))
		var more int
		more, err = c.nc.Write(p[n:])
		n += more
	}
	return n, err
}

// haste returns the write time-out of a reply.
func (c *Conn) haste() time.Duration {
	if c.gaveWay.Load() {
		return min(c.rules.WriteTimeout, wayTime)
	}
	return c.rules.WriteTimeout
}

// Send writes the waiting output, a line and the data that follow it: records for a
// reader. The peer may be slow as long as nobody waits for the readers' memory and the
// server is not ending, but it must take something within the idle time-out. The turn ends
// when Send has to wait for the peer.
func (w *Worker) Send(line []byte, data ...Data) (err error) {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flush(); err != nil {
		return err
	}
	bufs := c.messages(line, data)
	p, begun := newPace(w), false
	defer func() {
		c.flushed = time.Now()
		if begun {
			c.broken = err
		}
	}()
	if c.top == c.nc {
		err = c.patiently(net.Buffers(bufs), &p)
		begun = p.sent > 0
		return err
	}
	c.layer.setPatient(true, w)
	defer c.layer.setPatient(false, nil)
	for _, b := range bufs {
		if e := c.ended.Load(); e != nil {
			return *e
		}
		begun = true
		n, err := c.top.Write(b)
		p.sent += int64(n)
		if err != nil {
			return fmt.Errorf("dialect: write: %w", err)
		}
	}
	return nil
}

// messages returns what to write for a line and the data that follow it.
func (c *Conn) messages(line []byte, data []Data) (bufs [][]byte) {
	if c.frames != nil {
		line = bytes.TrimSuffix(line, []byte("\n"))
		line = append(c.frames.AppendHeader(nil, true, len(line)), line...)
	}
	bufs = append(bufs, line)
	for _, d := range data {
		if c.frames != nil {
			bufs = append(bufs, c.frames.AppendHeader(nil, d.Text, len(d.Bytes)))
		}
		bufs = append(bufs, d.Bytes)
	}
	return bufs
}

// A pace measures how fast a peer takes what it is sent.
type pace struct {
	worker *Worker // who waits for the peer, or nil
	sent   int64
	last   time.Time // when the peer took something
	looked time.Time // when its progress was last checked
	then   int64     // what had been sent then
}

func newPace(w *Worker) pace {
	now := time.Now()
	return pace{worker: w, last: now, looked: now}
}

const (
	knownGiven = 1 << 20  // a reader that has taken this many bytes is known
	turnGiven  = 64 << 10 // this many bytes that its readers have taken pay for a turn of a host

	// blockTime is how long a write may take until its peer is waited for.
	blockTime = 200 * time.Microsecond
)

// took notes that a reader has taken n more bytes.
func (c *Conn) took(n int64) {
	given := c.given.Add(n)
	if turns := given/turnGiven - (given-n)/turnGiven; turns > 0 {
		c.host.CreditTurns(int(turns))
	}
}

// patiently writes to the innermost connection, below all wrappers: see Send.
func (c *Conn) patiently(rest net.Buffers, p *pace) error {
	wait := pressTime
	if p.worker != nil {
		wait = blockTime
	}
	for len(rest) > 0 {
		if e := c.ended.Load(); e != nil {
			return *e
		}
		_ = c.nc.SetWriteDeadline(time.Now().Add(wait))
		n, err := rest.WriteTo(c.nc)
		p.sent += n
		c.took(n)
		if p.worker != nil && err != nil {
			p.worker.Rest()
			wait = pressTime
		}
		now := time.Now()
		pressed := c.rules.Reading.Pressed()
		slow := false
		if since := now.Sub(p.looked); since > c.patienceOf(pressed) {
			slow = float64(p.sent-p.then) < minRate*since.Seconds()
			p.looked, p.then = now, p.sent
		}
		switch waited := now.Sub(p.last); {
		case errors.Is(err, os.ErrDeadlineExceeded) && slow && c.draining.Load():
			return ErrDrained
		case errors.Is(err, os.ErrDeadlineExceeded) && slow && pressed:
			return errors.New("dialect: the peer read too slowly while others waited for memory")
		case err == nil, n > 0 && errors.Is(err, os.ErrDeadlineExceeded):
			p.last = now
			c.Spoke()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("dialect: write: %w", err)
		case c.draining.Load():
			return ErrDrained
		case waited > c.rules.IdleTimeout:
			return fmt.Errorf("dialect: the peer read nothing for %v", c.rules.IdleTimeout)
		}
	}
	return nil
}

// Await calls giveUp, once, when a peer that takes nothing of an answer has used up its
// time: that of Send if patient is true, otherwise that of a reply. stop ends the watch.
// It is for writers that wait above the connection. Any goroutine may call it.
func (c *Conn) Await(patient bool, giveUp func()) (stop func()) {
	began := time.Now()
	var mu sync.Mutex
	var timer *time.Timer // guarded by mu; nil: stopped
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		waited, pressed := time.Since(began), c.rules.Reading.Pressed()
		switch {
		case timer == nil:
		case !patient && waited >= c.haste(), patient && waited >= c.rules.IdleTimeout, pressed && waited >= c.patienceOf(pressed), c.Ended() != nil:
			timer = nil
			giveUp()
		default:
			timer.Reset(pressTime)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(pressTime, look)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
			timer = nil
		}
	}
}

// patienceOf returns the interval at which a reader's progress is checked.
func (c *Conn) patienceOf(pressed bool) time.Duration {
	if pressed {
		return min(stallTime, c.rules.WriteTimeout)
	}
	return c.rules.WriteTimeout
}

// Close ends the connection. It writes the waiting output, and then reads for up to a
// second whatever still comes, so that the peer receives its replies. A connection that
// gives way does not wait.
func (c *Conn) Close() error {
	c.work.End()
	err := c.Flush()
	half, ok := c.top.(interface{ CloseWrite() error })
	if ok && err == nil && !c.gaveWay.Load() && half.CloseWrite() == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(drainTime))
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		c.linger(ctx)
		cancel()
		c.work.End()
	}
	c.release(nil)
	closing := c.top.Close()
	if c.tls != nil { // ignore errors: a peer that is gone can't be told
		closing = nil
	}
	return errors.Join(err, closing)
}

// linger reads and discards until ctx is done, the read deadline, or the peer's end. It
// needs little memory.
func (c *Conn) linger(ctx context.Context) {
	c.r, c.w = 0, 0
	if len(c.buf) > firstBuffer {
		c.resize(firstBuffer)
		c.lease.Shrink(firstBuffer)
	}
	into := c.buf
	if len(into) == 0 {
		into = c.tiny[:]
	}
	for {
		c.work.End()
		if _, err := c.top.Read(into); err != nil {
			return
		}
		if c.begin(ctx, c.work) != nil {
			return
		}
	}
}

// A Room is one reader's share of the readers' memory. A goroutine that asks for memory
// has work to do, so it also waits for its turn. Room implements [store.Room] and belongs
// to one goroutine.
type Room struct {
	w     *Worker
	lease *lease.Lease
}

// Room returns a Room for the worker, which sends to the peer. Any goroutine may call it.
func (w *Worker) Room() Room { return Room{w, w.c.rules.Reading.Lease(w.c.host)} }

// Beside returns a second Room for the same goroutine.
func (r Room) Beside() Room { return Room{r.w, r.w.c.rules.Reading.Lease(r.w.c.host)} }

// Need waits until the Room may hold a total of bytes.
func (r Room) Need(ctx context.Context, bytes int64) error {
	if bytes > r.lease.Size() {
		r.w.Rest()
	}
	if err := r.lease.Resize(ctx, bytes); err != nil {
		return err
	}
	return r.w.beginReading(ctx)
}

// Want is Need without waiting for memory. It reports whether the memory is available,
// which is always so for less than before. A goroutine that gives back all is about to
// wait.
func (r Room) Want(ctx context.Context, bytes int64) bool {
	if bytes == 0 {
		r.w.Rest()
	} else {
		_ = r.w.beginReading(ctx) // an error shows in what follows
	}
	if bytes > r.lease.Size() {
		return r.lease.TryResize(bytes)
	}
	r.Keep(bytes)
	return true
}

// Keep gives back all but the given number of bytes.
func (r Room) Keep(bytes int64) {
	r.lease.Shrink(bytes)
}

// Size returns how many bytes the Room may hold.
func (r Room) Size() int64 { return r.lease.Size() }

// Building returns the memory for what is built from records, shared by all connections.
func (c *Conn) Building() *lease.Pot { return c.rules.Building }
