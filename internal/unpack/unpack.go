// Package unpack reads what was compressed, within bounds of memory and of size: in any
// number of members, one after the other.
package unpack

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/dictwire/dictwire/fault"
)

// What a compressed body may cost.
const (
	flateMemory = 64 << 10 // of a decoder of gzip or deflate

	minWindow  = 1 << 20         // of a decoder of zstd
	maxWindow  = 8 << 20         // likewise (RFC 9659)
	zstdMemory = 512<<10 + 4<<10 // beside the window

	freeBytes = 8 << 20 // that a body may have in any case
	maxRatio  = 200     // how often a body may be larger than what was sent of it
)

// New returns what r is without its compression: gzip, deflate or zstd. needs is how much
// memory that takes. what names it in errors: "the body". They are *[fault.Error], or
// those of r.
func New(what, compression string, r io.Reader) (plain io.Reader, needs int64, err error) {
	sent := &counter{r: r}
	packed := bufio.NewReader(sent)
	u := &unpacker{what: what, name: compression, sent: sent}
	needs = flateMemory
	switch compression {
	case "deflate":
		u.r, err = newDeflate(packed)
	case "zstd":
		u.r, needs, err = newZstd(packed)
	default:
		u.r, err = gzip.NewReader(packed)
	}
	if err != nil {
		return nil, 0, u.fault(err)
	}
	return u, needs, nil
}

// newDeflate returns a reader of deflate, which is zlib's format (RFC 9110, section
// 8.4.1.2) or, of many clients, bare.
func newDeflate(packed *bufio.Reader) (io.Reader, error) {
	head, err := packed.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(packed)
	}
	return flate.NewReader(packed), nil
}

// newZstd returns a reader of zstd, whose window is charged before it is made.
func newZstd(packed *bufio.Reader) (io.Reader, int64, error) {
	head, err := packed.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 {
		return nil, 0, err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return nil, 0, err
	}
	window := max(h.WindowSize, minWindow)
	if h.SingleSegment {
		window = max(h.FrameContentSize, minWindow)
	}
	if window > maxWindow {
		return nil, 0, zstd.ErrWindowSizeExceeded
	}
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(maxWindow))
	return z, int64(window) + zstdMemory, err
}

// An unpacker reads what was compressed, within bounds.
type unpacker struct {
	r    io.Reader
	what string
	name string
	sent *counter
	made int64
}

// Read implements [io.Reader].
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if u.made += int64(n); u.made > max(freeBytes, maxRatio*u.sent.n) {
		return 0, &fault.Error{
			Code: fault.TooLarge, At: -1,
			Text: fmt.Sprintf("%s is more than %d times as large as what was sent of it", u.what, maxRatio),
			Hint: "send it in several parts, or not compressed",
		}
	}
	if err != nil && err != io.EOF {
		err = u.fault(err)
	}
	return n, err
}

// fault returns what an error of the decoder means: the connection's own are passed on.
func (u *unpacker) fault(err error) error {
	switch {
	case u.sent.err != nil && u.sent.err != io.EOF:
		return u.sent.err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &fault.Error{
			Code: fault.TooLarge, At: -1,
			Text: fmt.Sprintf("zstd with a window of more than %d bytes", maxWindow),
			Hint: "compress it at a lower level",
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &fault.Error{Code: fault.Truncated, At: -1, Text: fmt.Sprintf("%s ends within what is compressed as %s", u.what, u.name)}
	default:
		return &fault.Error{Code: fault.Malformed, At: -1, Text: fmt.Sprintf("%s is not compressed as it says: %s: %v", u.what, u.name, err)}
	}
}

// A counter counts what is read.
type counter struct {
	r   io.Reader
	n   int64
	err error // of r
}

// Read implements [io.Reader].
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
