package dialect

import (
	"context"
	"math/bits"
	"sync"
	"time"

	"github.com/dictwire/dictwire/internal/lease"
)

const (
	firstBuffer = 4 << 10   // what a connection starts with when bytes come
	busyBuffer  = 64 << 10  // what it may grow to because bytes come fast
	knownBuffer = 256 << 10 // the same, of a known peer
)

// A Holder is memory that a dialect holds for a connection beside its buffer: a
// codec.Scanner.
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

// buffers holds spare buffers by the binary logarithm of their size.
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

// putBuffer takes a buffer back. Those of odd sizes are left to the collector.
func putBuffer(b []byte) {
	class := bits.Len(uint(len(b) - 1))
	if len(b) > 0 && class < len(buffers) && len(b) == 1<<class {
		buffers[class].Put(&b)
	}
}
