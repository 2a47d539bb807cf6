package dialect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/lease"
)

// A Body is a [Source] of bytes that come over a hijacked connection and are read by
// other means, such as the body of a request. The connection's rules for memory, time and
// turns apply to it. A Body belongs to the goroutine of its worker.
type Body struct {
	c        *Conn
	worker   *Worker
	r        io.Reader
	deadline func(time.Time) error // sets when reads of r fail
	lease    *lease.Lease
	needs    int64 // bytes that r itself holds, part of the lease

	// Length is the expected total in bytes, if it is known and reads of r can go on
	// after a deadline. More then gathers bytes that arrive in quick succession. Zero
	// means unknown.
	Length int64

	buf  []byte // leased
	r0   int    // buf[r0:w] has come and was not discarded
	w    int
	read int64 // bytes read since the body began
	full bool  // the last read filled buf
	err  error // of r, to be returned after the buffered bytes

	began   time.Time    // when the current record began; zero between records
	looked  time.Time    // when its progress was last checked
	then    int64        // the value of read at that time
	turn    atomic.Int64 // number of the current read; even: none
	hurried atomic.Bool
}

// NewBody returns a Body that reads from r, which itself holds needs bytes of memory.
// deadline sets the time after which reads of r fail with [os.ErrDeadlineExceeded]; it is
// called from any goroutine. NewBody may wait for memory, so it ends the worker's turn.
// The caller must close the Body.
func (w *Worker) NewBody(ctx context.Context, r io.Reader, needs int64, deadline func(time.Time) error) (*Body, error) {
	w.Rest()
	b := &Body{c: w.c, worker: w, r: r, deadline: deadline, needs: needs, lease: w.c.rules.Memory.Lease(w.c.host)}
	if err := b.lease.Resize(ctx, needs+firstBuffer); err != nil {
		return nil, err
	}
	b.buf = getBuffer(firstBuffer)
	return b, nil
}

// Close gives the memory back and ends the worker's turn.
func (b *Body) Close() {
	b.worker.Rest()
	putBuffer(b.buf)
	b.buf, b.r0, b.w = nil, 0, 0
	b.lease.Shrink(0)
}

// Buffered implements [Source].
func (b *Body) Buffered() []byte { return b.buf[b.r0:b.w] }

// Discard implements [Source].
func (b *Body) Discard(n int) {
	b.r0 += n
	if n > 0 {
		b.began = time.Time{}
	}
	if b.r0 == b.w {
		b.r0, b.w = 0, 0
	}
}

// Offset implements [Source].
func (b *Body) Offset() int64 { return b.read - int64(b.w-b.r0) }

// More implements [Source]. Between records, the next bytes must come within the record
// time-out.
func (b *Body) More(ctx context.Context, within bool, h Holder) error {
	b.worker.Rest()
	if b.err != nil {
		return b.err
	}
	now := time.Now()
	if !within || b.began.IsZero() {
		b.began, b.looked, b.then = now, now, b.read
	}
	if err := b.room(ctx, h); err != nil {
		return err
	}
	if waited := time.Since(now); waited > time.Millisecond { // waiting for the server does not count
		b.began = b.began.Add(waited)
		b.looked, b.then = time.Now(), b.read
	}
	if err := b.c.Ended(); err != nil && err != ErrDrained {
		return err
	}
	_ = b.deadline(b.began.Add(b.c.rules.RecordTimeout)) // a failure shows in the read
	silence := b.hurryLater(b.turn.Add(1))
	n, err := b.gather()
	b.turn.Add(1)
	silence.Stop()
	b.full = b.w == len(b.buf)
	if err != nil {
		b.err = b.fault(ctx, err)
	} else if f := b.pressed(); f != nil {
		b.err = f
	}
	switch {
	case b.err != nil && b.err != io.EOF: // the peer can't be told about these n bytes
		return b.err
	case n > 0:
		return b.worker.Begin(ctx)
	case b.err == nil:
		return b.More(ctx, within, h)
	default:
		return io.EOF
	}
}

// gatherTime is how long gather waits for more bytes.
const gatherTime = 5 * time.Millisecond

// gather reads what has come. If the length of the body is known, it also waits briefly
// for more, since each append costs a sync.
func (b *Body) gather() (all int, err error) {
	for more := false; ; more = true {
		n, err := b.r.Read(b.buf[b.w:])
		b.w += n
		b.read += int64(n)
		all += n
		switch {
		case more && errors.Is(err, os.ErrDeadlineExceeded) && !b.hurried.Load():
			return all, nil
		case err != nil || b.w == len(b.buf) || b.read >= b.Length:
			return all, err
		}
		_ = b.deadline(time.Now().Add(gatherTime)) // as in More
	}
}

// hurryLater aborts the read with the given number if it brings nothing for a while and
// others wait for memory.
func (b *Body) hurryLater(turn int64) *time.Timer {
	return time.AfterFunc(pressTime, func() {
		switch {
		case b.turn.Load() != turn: // the read has ended
		case b.c.rules.Memory.Pressed():
			b.hurried.Store(true)
			_ = b.deadline(time.Now()) // as in More
		default:
			b.hurryLater(turn)
		}
	})
}

// pressed returns a fault if the record came too slowly while others waited for memory.
func (b *Body) pressed() error {
	now := time.Now()
	since := now.Sub(b.looked)
	if since < pressTime {
		return nil
	}
	slow := float64(b.read-b.then) < minRate*since.Seconds()
	b.looked, b.then = now, b.read
	if slow && b.c.rules.Memory.Pressed() {
		return tooSlow(b.Offset())
	}
	return nil
}

// fault returns the fault for an error of a read.
func (b *Body) fault(ctx context.Context, err error) error {
	switch {
	case err == io.EOF:
		return io.EOF
	case errors.As(err, new(*fault.Error)):
		return err
	case b.hurried.Load():
		return tooSlow(b.Offset())
	case errors.Is(err, os.ErrDeadlineExceeded): // net/http then ends ctx, too
		return tooLate(b.Offset(), "record", b.c.rules.RecordTimeout, "Server.RecordTimeout")
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return fmt.Errorf("dialect: read: %w", err)
	}
}

// room makes room for at least one more byte.
func (b *Body) room(ctx context.Context, h Holder) error {
	beside := b.needs
	if h != nil {
		beside += int64(h.Scratch())
	}
	size := len(b.buf)
	charge := b.lease.Size()
	switch more := b.more(); {
	case size < more && b.lease.TryResize(int64(more)+beside):
		size = more
		charge = b.lease.Size()
	case b.full && size < b.c.busy && b.lease.TryResize(int64(2*size)+beside):
		size *= 2 // bytes come fast
		charge = b.lease.Size()
	case b.w < size:
		charge = max(charge, int64(size)+beside)
	case b.r0 >= b.w-b.r0: // moving is cheaper than what was read since
		b.w = copy(b.buf, b.buf[b.r0:b.w])
		b.r0 = 0
		charge = max(charge, int64(size)+beside)
	default:
		charge = max(charge, beside)
		size, charge = b.c.larger(size, charge-beside)
		charge += beside
	}
	if charge != b.lease.Size() {
		if err := b.lease.Resize(ctx, charge); err != nil {
			return err
		}
	}
	if size != len(b.buf) {
		buf := getBuffer(size)
		b.w = copy(buf, b.buf[b.r0:b.w])
		b.r0 = 0
		putBuffer(b.buf)
		b.buf = buf
	}
	return nil
}

// more returns the buffer size for the rest of the body, but at most the size that a fast
// connection gets.
func (b *Body) more() int {
	busy := busyBuffer
	if b.c.Known() {
		busy = knownBuffer
	}
	rest := min(b.Length-b.read+int64(b.w), int64(busy))
	if rest <= firstBuffer {
		return firstBuffer
	}
	return 1 << bits.Len64(uint64(rest-1))
}

// All reads the body to its end and returns it; a body of more than limit bytes is a
// fault. size is the expected length, or negative. The result is valid until Close.
func (b *Body) All(ctx context.Context, size int64, limit int) ([]byte, error) {
	var all []byte
	grow := func(to int) error {
		to = min(max(to, 2*len(all)), limit)
		if err := b.lease.Resize(ctx, b.lease.Size()+int64(to)); err != nil {
			return err
		}
		b.needs += int64(to)
		before := cap(all)
		all = append(make([]byte, 0, to), all...)
		b.needs -= int64(before)
		return b.lease.Resize(ctx, b.lease.Size()-int64(before))
	}
	if size > 0 && size <= int64(limit) {
		if err := grow(int(size)); err != nil {
			return nil, err
		}
	}
	for {
		switch err := b.More(ctx, len(all) > 0, nil); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, err
		}
		more := b.Buffered()
		if len(all)+len(more) > limit {
			return nil, &fault.Error{Code: fault.TooLarge, At: -1, Text: fmt.Sprintf("a body of more than %d bytes", limit)}
		}
		if len(all)+len(more) > cap(all) {
			if err := grow(len(all) + len(more)); err != nil {
				return nil, err
			}
		}
		all = append(all, more...)
		b.r0, b.w = 0, 0 // the whole body is one record
	}
}

// Hold leases n more bytes for what is built from the body. It may wait for memory, so it
// ends the worker's turn.
func (b *Body) Hold(ctx context.Context, n int64) error {
	b.worker.Rest()
	if err := b.lease.Resize(ctx, b.lease.Size()+n); err != nil {
		return err
	}
	b.needs += n
	return nil
}

// A Chunk is a [Source] whose bytes are all in memory.
type Chunk struct {
	all []byte
	at  int
}

// NewChunk returns the source of b.
func NewChunk(b []byte) *Chunk { return &Chunk{all: b} }

// Buffered implements [Source].
func (c *Chunk) Buffered() []byte { return c.all[c.at:] }

// Discard implements [Source].
func (c *Chunk) Discard(n int) { c.at += n }

// Offset implements [Source].
func (c *Chunk) Offset() int64 { return int64(c.at) }

// More implements [Source]: nothing more comes.
func (c *Chunk) More(context.Context, bool, Holder) error { return io.EOF }

// SniffSource finds out what a source holds, as [Sniff] does for a connection, without
// discarding anything. It returns io.EOF if the source holds nothing but white space.
func SniffSource(ctx context.Context, s Source) (Protocol, error) {
	for {
		p, err := Sniff(s.Buffered())
		if !errors.Is(err, codec.ErrIncomplete) {
			return p, err
		}
		switch err := s.More(ctx, true, nil); {
		case err == io.EOF && len(bytes.TrimLeft(s.Buffered(), " \t\r\n")) == 0:
			return Unknown, io.EOF
		case err == io.EOF:
			if p, err = sniff(s.Buffered(), true); errors.Is(err, codec.ErrIncomplete) {
				err = &fault.Error{Code: fault.Truncated, Text: "what has come tells no format"}
			}
			return p, err
		case err != nil:
			return Unknown, err
		}
	}
}
