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

// Rules are shared by all connections of a server.
type Rules struct {
	Memory        *lease.Budget // for received bytes
	Building      *lease.Pot    // for what is built from records
	Reading       *lease.Budget // for what is sent to readers
	Turns         *lease.Turns  // on the processors
	MaxRecord     int           // bytes
	FirstTimeout  time.Duration // until the first byte
	OpenTimeout   time.Duration // for the bytes that Sniff needs, and for a greeting
	IdleTimeout   time.Duration
	RecordTimeout time.Duration
	WriteTimeout  time.Duration
}

// A Conn is a connection as a dialect sees it: received bytes, and a way to wait for more
// within the server's rules. An idle Conn holds no buffer.
//
// Its methods belong to one goroutine, except those that say otherwise.
type Conn struct {
	// Codec encodes the errors that the peer is told. Nil means JSON, on a line.
	Codec codec.Codec

	// Beat, if not nil, is called by More when nothing was written for BeatEvery, and when
	// SayNow has left something to do.
	Beat      func() error
	BeatEvery time.Duration

	// MaxMessage is the most bytes that may be buffered, if that is more than a record.
	MaxMessage int

	// Patient lets the peer be silent between records for ever.
	Patient bool

	// MaxIdle, if not 0, limits how long the peer may be silent between records, in
	// addition to the rules.
	MaxIdle time.Duration

	nc    net.Conn
	host  *lease.Host
	rules *Rules
	lease *lease.Lease
	known atomic.Bool // see SetKnown
	work  *lease.Turn // the turn of the connection's goroutine

	buf    []byte // leased; nil while idle
	beside int64  // bytes of the lease for memory other than buf
	r, w   int    // buf[r:w] has come and was not discarded
	high   int    // the most of buf that was in use recently
	full   bool   // the last read filled buf
	busy   int    // how large buf may become without a large record
	read   int64  // bytes read since the connection began

	tiny [64]byte // receives the first bytes of an idle connection

	deadline time.Time // the current read deadline
	idle     time.Time // since when the peer has been silent between records
	protocol Protocol  // the result of Sniff
	sniffing bool      // the current record is what Sniff waits for
	greeting bool      // the current record is a greeting
	began    time.Time // when the current record began; zero between records
	pressed  time.Time // when its progress was last checked
	pressAt  int64     // the value of read at that time
	drainBy  time.Time // when a draining connection ends; zero until More has seen that it drains

	wrapped
	output
	draining atomic.Bool
	ended    atomic.Pointer[error] // by End
	gaveWay  atomic.Bool           // by GiveWay
	resume   atomic.Int64          // when More may read again, in nanoseconds since 1970; see Pause
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

// SetProtocol sets what the connection speaks, in place of Sniff.
func (c *Conn) SetProtocol(p Protocol) { c.protocol = p }

// Protocol returns what the connection speaks, as found by Sniff.
func (c *Conn) Protocol() Protocol { return c.protocol }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Buffered returns the bytes that have come and were not discarded. The slice is valid
// until the next call of Discard or More.
func (c *Conn) Buffered() []byte { return c.buf[c.r:c.w] }

// Discard drops the first n buffered bytes. The bytes after them belong to another
// record, with a time limit of its own.
func (c *Conn) Discard(n int) {
	c.r += n
	if n > 0 {
		c.began = time.Time{}
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// Offset returns the offset of the first buffered byte, from the connection's first.
func (c *Conn) Offset() int64 { return c.read - int64(c.w-c.r) }

// Silent reports whether nothing has been received.
func (c *Conn) Silent() bool { return c.read == 0 }

// More waits until more bytes are buffered. within says that a record has begun; it must
// then end within the record time-out. Otherwise the connection is idle, and after a
// while gives back its memory and that of h.
//
// More returns io.EOF when the peer has ended its side, an *[fault.Error] if the peer
// breaks a rule, ErrDrained if the server is ending and so may this connection, or an
// error of the connection.
func (c *Conn) More(ctx context.Context, within bool, h Holder) error {
	c.work.End()
	if err := c.Flush(); err != nil {
		return err
	}
	if err := c.prepare(ctx, within, h); err != nil {
		return err
	}
	for began := time.Now(); ; {
		if err := c.await(within, began); err != nil {
			return err
		}
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
			c.deadline = time.Time{} // it may be nudge's
			if c.due.Load() {
				continue
			}
			if err := c.waited(within, h); err != nil {
				return err
			}
		case err == io.EOF, err == io.ErrUnexpectedEOF && c.tls != nil:
			// The latter is a peer that ends without closing TLS, as many do. It may have
			// been cut off, but so may a peer without TLS.
			return io.EOF
		case err == nil: // nothing yet
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			return fmt.Errorf("dialect: read: %w", err)
		}
	}
}

// prepare begins a wait for more bytes. It waits until it may begin.
func (c *Conn) prepare(ctx context.Context, within bool, h Holder) error {
	now := time.Now()
	if !within {
		c.began, c.idle = time.Time{}, now
	} else if c.began.IsZero() {
		c.began = now
		c.pressed, c.pressAt = c.began, c.read
	}
	if time.Unix(0, c.resume.Load()).After(now) {
		if err := c.paused(ctx, within, h); err != nil {
			return err
		}
	}
	return c.room(ctx, within, h)
}

// await readies the next read: it sets how long that may wait. silent is the time since
// which nothing has come.
func (c *Conn) await(within bool, silent time.Time) error {
	if e := c.ended.Load(); e != nil {
		return *e
	}
	wait, expired := c.patience(within, silent)
	if expired != nil {
		return expired
	}
	now := time.Now()
	beat, err := c.beat(now)
	if err != nil {
		return err
	}
	c.arm(now, min(wait, beat))
	return nil
}

// OpenTimeout returns the time limit of a handshake.
func (c *Conn) OpenTimeout() time.Duration { return c.rules.OpenTimeout }

// Greet says whether the current record is a greeting.
func (c *Conn) Greet(is bool) { c.greeting = is }

// Sniff waits until the first bytes tell the protocol, without discarding them. active,
// if not nil, is called when the first byte has come; if it returns false, the connection
// ends. In addition to the errors of the function Sniff and of More, Sniff returns io.EOF
// for a connection that ends with nothing but white space.
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
				return Unknown, f // what came can be named
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

// SetKnown says whether the peer is known: its records were good so far, or it has read a
// lot. A known peer needs no turns, gets memory before others, and may have a larger
// buffer. If it is not known, what it has taken as a reader so far no longer counts. Any
// goroutine may call it.
func (c *Conn) SetKnown(known bool) {
	c.lease.SetKnown(known)
	c.known.Store(known)
	if !known {
		c.given.Store(0)
	}
}

// Known reports whether the peer is known and needs no turns: by SetKnown, or as a reader
// that has taken a lot. Any goroutine may call it.
func (c *Conn) Known() bool { return c.known.Load() || c.given.Load() >= knownGiven }

// Spoke is SpokeAt now.
func (c *Conn) Spoke() { c.SpokeAt(time.Now()) }

// SpokeAt notes that the peer has spoken: it has opened a session, sent a record or a
// commit, or taken what it asked for. Mere bytes and beats do not count. Any goroutine
// may call it.
func (c *Conn) SpokeAt(t time.Time) { c.spoke.Store(t.UnixNano()) }

// LastSpoke returns when the peer last spoke, or the zero time. Any goroutine may call
// it.
func (c *Conn) LastSpoke() time.Time {
	if t := c.spoke.Load(); t != 0 {
		return time.Unix(0, t)
	}
	return time.Time{}
}
