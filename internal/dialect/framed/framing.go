package framed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A head is what precedes a record.
type head struct {
	size   int    // of the head, in bytes
	length int64  // of the record
	refuse string // why the record can't be taken, or ""
}

// A framing is a way to state the length of a record.
type framing interface {
	fmt.Stringer // as in "this looks like …"

	// parse parses the head at the beginning of b. It returns codec.ErrIncomplete if more
	// bytes are needed, and another error if b does not begin with a head.
	parse(b []byte) (head, error)

	// append appends a frame.
	append(dst []byte, format codec.Codec, record []byte) []byte
}

// lengths are 4 bytes, big-endian.
type lengths struct{}

func (lengths) String() string { return "a 4-byte length" }

func (lengths) parse(b []byte) (head, error) {
	if len(b) < 4 {
		return head{}, codec.ErrIncomplete
	}
	return head{size: 4, length: int64(binary.BigEndian.Uint32(b))}, nil
}

func (lengths) append(dst []byte, _ codec.Codec, record []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(record))), record...)
}

// headers are 2 bytes, big-endian, and that many bytes of JSON, which state the length of
// the content. Real Python's guide to sockets teaches this.
type headers struct{}

func (headers) String() string { return "a 2-byte length" }

func (headers) parse(b []byte) (h head, err error) {
	if len(b) < 2 {
		return h, codec.ErrIncomplete
	}
	h.size = 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < h.size {
		return h, codec.ErrIncomplete
	}
	d, err := json.Codec{}.Decode(b[2:h.size], codec.Limits{})
	if err != nil {
		return h, fmt.Errorf("its header is no JSON dictionary: %w", err)
	}
	v, _ := d.Get("content-length")
	length, ok := v.Int()
	if !ok || length < 0 {
		return h, errors.New(`what follows it is no header with a "content-length"`)
	}
	h.length = length
	encoding, _ := d.Get("content-encoding")
	switch name, _ := encoding.Text(); strings.ToLower(name) {
	case "", "utf-8", "utf8", "ascii", "us-ascii", "binary":
	default:
		h.refuse = fmt.Sprintf("the content-encoding %.40q is not served; utf-8 and binary are", name)
	}
	return h, nil
}

func (headers) append(dst []byte, format codec.Codec, record []byte) []byte {
	kind, encoding := "text/json", "utf-8"
	if format.Name() != "json" {
		kind, encoding = format.MediaType(), "binary"
	}
	h := json.Render(nil, dict.Of("byteorder", "little", "content-type", kind, "content-encoding", encoding, "content-length", len(record)), nil)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h)))
	return append(append(dst, h...), record...)
}

// columns is the width of a length in decimal digits, padded with blanks.
type columns int

func (c columns) String() string { return fmt.Sprintf("a decimal length of %d columns", int(c)) }

func (c columns) parse(b []byte) (h head, err error) {
	text := bytes.TrimRight(b[:min(len(b), int(c))], " ")
	n, err := strconv.ParseUint(string(text), 10, 62)
	switch {
	case len(text) > 0 && (err != nil || len(bytes.TrimLeft(text, "0123456789")) > 0):
		return h, fmt.Errorf("%.64q is none", text)
	case len(b) < int(c):
		return h, codec.ErrIncomplete
	case len(text) == 0:
		return h, errors.New("it is blank")
	}
	return head{size: int(c), length: int64(n)}, nil
}

func (c columns) append(dst []byte, _ codec.Codec, record []byte) []byte {
	return append(fmt.Appendf(dst, "%-*d", int(c), len(record)), record...)
}

// maxLength returns the longest frame that may be skipped, since it is certain where the
// next one begins.
func maxLength(limits codec.Limits) int64 {
	return max(dialect.MaxFrame, int64(limits.RecordBytes))
}
