package cbor

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/fault"
)

// format is CBOR in what faults say.
type format struct{ Codec }

// Describe names the item whose head is at i.
func (format) Describe(buf []byte, i int) string {
	c := buf[i]
	info := c & 31
	k, arg, ok := readHead(buf, i)
	if !ok || c == simple<<5|24 && k <= len(buf) && arg < 32 {
		return fmt.Sprintf("byte 0x%02x", c)
	}
	switch c >> 5 {
	case unsigned, negative:
		return "an integer"
	case byteString:
		return "bytes"
	case textString:
		return "a string"
	case array:
		return "a list"
	case mapping:
		return "a map"
	case tag:
		if k <= len(buf) {
			return "tag " + strconv.FormatUint(arg, 10)
		}
		return "a tag"
	}
	switch info {
	case simpleFalse, simpleTrue:
		return "a bool"
	case simpleNull:
		return "null"
	case 25, 26, 27:
		return "a float"
	case indefinite:
		return "a break"
	default:
		return "a simple value"
	}
}

// Pair returns a map of that key and null.
func (format) Pair(key []byte) []byte {
	return append(append([]byte{mapping<<5 | 1}, key...), simple<<5|simpleNull)
}

// TextHint is the remedy for strings that are not UTF-8.
func (format) TextHint() string {
	return "encode the text as UTF-8; text with lone surrogates goes after tag 273, as bytes"
}

// truncated fails because buf is all that there is of the record.
func (p *parser) truncated(buf []byte) int {
	if p.chunks.open {
		return p.CutOff(buf, "the string to go on or end")
	}
	return p.Truncated(buf)
}

// refused fails because of a tag that belongs to an option of Python's cbor2.
func (p *parser) refused(buf []byte, i int, number uint64, what, option string) int {
	p.Fail(buf, fault.Malformed, i, fmt.Sprintf("want a value, got tag %d (%s, which are not supported)", number, what))
	p.Err.Hint = "encode without " + option
	return walk.Failed
}

// Head returns the head at i.
func (format) Head(buf []byte, i int) walk.Head {
	k, arg, ok := readHead(buf, i)
	c := buf[i]
	endless := c&31 == indefinite
	h := walk.Head{Size: k - i, List: c>>5 == array}
	if !ok || k > len(buf) {
		if !ok {
			h.Size = 0
		}
		return h
	}
	switch c >> 5 {
	case byteString:
		if h.Chunk, h.Body = walk.Bytes, arg; endless {
			h.Chunk, h.Of, h.Body = 0, walk.Bytes, 0
		}
	case textString:
		if h.Chunk, h.Body = walk.Text, arg; endless {
			h.Chunk, h.Of, h.Body = 0, walk.Text, 0
		}
	case array:
		if h.Items = arg; endless {
			h.Of, h.Items = walk.Items, 0
		}
	case mapping:
		if h.Items = min(arg, math.MaxInt64) * 2; endless {
			h.Of, h.Items = walk.Pairs, 0
		}
	case tag:
		h.Items = 1
	case simple:
		if h.Break = c == brk; c == simple<<5|24 && arg < 32 {
			h.Size = 0
		}
	}
	return h
}
