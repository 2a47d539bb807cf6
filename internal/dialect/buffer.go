package dialect

import (
	"context"
	"math/bits"
	"sync"
	"time"

	"github.com/dictwire/dictwire/internal/lease"
)

const (
	firstBuffer = 4 << 10   // the first buffer of a connection
	busyBuffer  = 64 << 10  // its largest size without a large record
	knownBuffer = 256 << 10 // the same for a known peer
)

// A Holder is memory that a dialect holds for a connection in addition to its buffer,
// such as a codec.Scanner.
type Holder interface {
	Scratch() int // in bytes
	Release()
}

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
	if c.busy = busyBuffer; c.known.Load() { // its turns may come seldom, with much to do in each
		c.busy = knownBuffer
	}
	charge := c.lease.Size() - c.beside // what buf is charged for: its size, or more if memory was promised to a record
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
	case c.r >= c.w-c.r: // moving costs less than the reads since the last move
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default:
		size, charge = c.larger(size, charge)
	}
	// No need to wait for memory for a buffer that is mostly empty: take a smaller one.
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

// larger returns the next size of a buffer that a record has outgrown, and the charge for
// it.
func (c *Conn) larger(size int, charge int64) (int, int64) {
	// A record never outgrows the limit, since its scanner refuses it first.
	limit := max(size+firstBuffer, c.MaxMessage, c.rules.MaxRecord+firstBuffer)
	size = min(2*size, limit)
	charge = max(charge, int64(size))
	if size > lease.Small {
		// A large record is charged at once for all that it may need, within reason. If
		// records grew step by step, many half-read ones could wait for each other.
		charge = max(charge, min(int64(limit), c.rules.Memory.Share()))
	}
	return size, charge
}

// resize moves the buffered bytes to a buffer of another size, which has been leased.
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

// came takes in n bytes that were read.
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
	if c.Known() { // then it does not wait
		return c.begin(ctx, c.work)
	}
	before := time.Now()
	err := c.begin(ctx, c.work)
	c.excuse(before)
	return err
}

// release gives back the buffer, which must be empty, and all other memory.
func (c *Conn) release(h Holder) {
	if h != nil {
		h.Release()
	}
	c.resize(0)
	c.drop()
	c.high, c.beside = 0, 0
	c.lease.Shrink(0)
}

// buffers holds spare buffers, indexed by the binary logarithm of their size.
var buffers [32]sync.Pool // of *[]byte

// getBuffer returns a buffer of the given size.
func getBuffer(size int) []byte {
	class := bits.Len(uint(size - 1))
	if class < len(buffers) && size == 1<<class {
		if b, ok := buffers[class].Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, size)
}

// putBuffer takes a buffer back. Buffers of other sizes are left to the garbage
// collector.
func putBuffer(b []byte) {
	class := bits.Len(uint(len(b) - 1))
	if len(b) > 0 && class < len(buffers) && len(b) == 1<<class {
		buffers[class].Put(&b)
	}
}
