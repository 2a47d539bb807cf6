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
