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
	writeBuffer = 4 << 10               // what waits is written at the latest when there is as much
	flushTime   = time.Millisecond      // how long it may wait for more
	knownGiven  = 1 << 20               // what a reader has taken who is known
	wayTime     = 50 * time.Millisecond // how long a connection that gives way may take to write
)

// An output is what a connection says to its peer.
type output struct {
	mu       turn        // held while writing
	out      []byte      // what waits to be written
	flushed  time.Time   // when something was written last
	given    int64       // bytes that Send wrote
	hasTaken atomic.Bool // given is a lot
	broken   error       // why nothing more is written: the peer has a part of something
}

// A turn is a mutex whose holder may wait for long, for the peer. It is a channel
// of one place, because testing/synctest lets no time pass while a goroutine waits
// for a sync.Mutex.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// quiet returns for how long nothing was written.
func (o *output) quiet() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(o.flushed)
}

// held returns how much memory waits to be written.
func (o *output) held() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(cap(o.out))
}

// drop gives the memory up, where nothing waits: another goroutine may have said
// something, and not flushed it yet.
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

// A Message is something that can be written.
type Message interface {
	Append(dst []byte) []byte
}

// Data is bytes that follow a message.
type Data struct {
	Bytes []byte
	Text  bool // they are text, which matters where the connection carries messages
}

// Say sends a message, and what follows it. It is written at the latest when More is
// called. Any goroutine may call it.
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

// maxHeader is the most that stands before a message: see [Framer].
const maxHeader = 10

// open begins a message at the end of what waits, and returns where. c.mu is held.
func (c *Conn) open() int {
	at := len(c.out)
	if c.frames != nil {
		c.out = append(c.out, make([]byte, maxHeader)...)
	}
	return at
}

// shut ends the message that began there. c.mu is held.
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

// Write sends bytes as they are, as Say does.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, p...)
	return len(p), c.mayFlush()
}

// mayFlush writes what waits where it is much or has waited long. c.mu is held.
func (c *Conn) mayFlush() error {
	if len(c.out) < writeBuffer && time.Since(c.flushed) < flushTime {
		return nil
	}
	return c.flush()
}

// Flush writes what waits. Any goroutine may call it.
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
	_ = c.nc.SetWriteDeadline(c.flushed.Add(c.haste()))
	_, err := c.top.Write(c.out)
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

// haste returns how long a reply may wait for the peer.
func (c *Conn) haste() time.Duration {
	if c.gaveWay.Load() {
		return min(c.rules.WriteTimeout, wayTime)
	}
	return c.rules.WriteTimeout
}

// Send writes what waits, then a line, and what follows it: what is given to a reader. The peer may
// take its time while nobody waits for the memory of readers and the server does
// not end, unless nothing of it is read for as long as it may be idle. Any
// goroutine may call it.
func (c *Conn) Send(line []byte, data ...Data) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flush(); err != nil {
		return err
	}
	bufs := c.messages(line, data)
	p, begun := newPace(), false
	defer func() {
		c.flushed = time.Now()
		if begun {
			c.broken = err
		}
		if c.given += p.sent; c.given >= knownGiven {
			c.hasTaken.Store(true)
		}
	}()
	if c.top == c.nc {
		err = c.patiently(net.Buffers(bufs), &p)
		begun = p.sent > 0
		return err
	}
	c.layer.setPatient(true)
	defer c.layer.setPatient(false)
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

// messages returns what is written for a line and what follows it.
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

// A pace is how fast a peer takes what it is sent.
type pace struct {
	sent   int64
	last   time.Time // when the peer took something
	looked time.Time // when its progress was looked at
	then   int64     // what was sent then
}

func newPace() pace {
	now := time.Now()
	return pace{last: now, looked: now}
}

// patiently writes to the connection below all that wraps it: see Send.
func (c *Conn) patiently(rest net.Buffers, p *pace) error {
	for len(rest) > 0 {
		if e := c.ended.Load(); e != nil {
			return *e
		}
		_ = c.nc.SetWriteDeadline(time.Now().Add(pressTime))
		n, err := rest.WriteTo(c.nc)
		p.sent += n
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

// Await calls giveUp, once, when a peer who takes nothing of an answer is not to be
// waited for any more, until stop is called: as in Send where patient is true, else as
// for a reply. It is for what waits above the connection. Any goroutine may call it.
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

// patienceOf returns after how long a reader's progress is looked at.
func (c *Conn) patienceOf(pressed bool) time.Duration {
	if pressed {
		return min(stallTime, c.rules.WriteTimeout)
	}
	return c.rules.WriteTimeout
}

// Close ends the connection: what waits is written, and whatever still comes
// is read for at most a second, so that the peer gets to read its replies, unless
// the connection gives way to another one.
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
	if c.tls != nil { // a peer that is gone can't be told that this is the end
		closing = nil
	}
	return errors.Join(err, closing)
}

// linger reads what still comes until ctx is done, the read deadline, or the peer's
// end. It needs little memory for that.
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

// A Room is memory of a reader, within that of all readers. Who asks for some of it
// has work to do, and waits for its turn. It implements [store.Room], and belongs to
// one goroutine.
type Room struct {
	w     *Worker
	lease *lease.Lease
}

// Room returns memory for what is given to the peer, by a goroutine of its own. Any
// goroutine may call it.
func (c *Conn) Room() Room { return Room{c.Worker(), c.rules.Reading.Lease(c.host)} }

// Beside returns more memory for the same goroutine.
func (r Room) Beside() Room { return Room{r.w, r.w.c.rules.Reading.Lease(r.w.c.host)} }

// Need waits until there is room for so many bytes in all.
func (r Room) Need(ctx context.Context, bytes int64) error {
	if bytes > r.lease.Size() {
		r.w.Rest()
	}
	if err := r.lease.Resize(ctx, bytes); err != nil {
		return err
	}
	return r.w.Begin(ctx)
}

// Want is Need that does not wait for memory, and reports whether there is room.
// Giving back always succeeds; who gives back all is about to wait.
func (r Room) Want(ctx context.Context, bytes int64) bool {
	if bytes == 0 {
		r.w.Rest()
	} else {
		_ = r.w.Begin(ctx) // a connection that has ended fails what follows
	}
	if bytes > r.lease.Size() {
		return r.lease.TryResize(bytes)
	}
	r.Keep(bytes)
	return true
}

// Keep gives back all but so many bytes.
func (r Room) Keep(bytes int64) {
	r.lease.Shrink(bytes)
}

// Size returns how many bytes there is room for.
func (r Room) Size() int64 { return r.lease.Size() }

// Building returns the memory for what is built of records, which all connections
// share.
func (c *Conn) Building() *lease.Pot { return c.rules.Building }
