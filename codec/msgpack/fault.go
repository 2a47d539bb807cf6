package msgpack

import (
	"fmt"

	"github.com/dictwire/dictwire/codec/internal/walk"
)

// format is MessagePack in what faults say.
type format struct{ Codec }

// Describe names the item whose first byte is at i.
func (format) Describe(buf []byte, i int) string {
	switch classOf(buf[i]) {
	case ofNull:
		return "nil"
	case ofBool:
		return "a bool"
	case ofInt:
		return "an integer"
	case ofFloat:
		return "a float"
	case ofStr:
		return "a string"
	case ofBin:
		return "bytes"
	case ofExt:
		return "an extension"
	case ofArray:
		return "an array"
	case ofMap:
		return "a map"
	default:
		return fmt.Sprintf("byte 0x%02x", buf[i])
	}
}

// Pair returns a map of that key and nil.
func (format) Pair(key []byte) []byte { return append(append([]byte{fixmap | 1}, key...), null) }

// TextHint is the remedy for strings that are not UTF-8.
func (format) TextHint() string {
	return "write bytes as bin, as Python's msgpack does with use_bin_type=True"
}

// Head returns the head at i.
func (format) Head(buf []byte, i int) walk.Head {
	c := buf[i]
	h := walk.Head{Size: headSize(c), List: classOf(c) == ofArray}
	if i+h.Size > len(buf) {
		return h
	}
	arg := number(buf[i+1 : i+h.Size])
	switch k := classOf(c); {
	case k == ofNothing:
		h.Size = 0
	case c >= fixmap && c < fixarray:
		h.Items = 2 * uint64(c&15)
	case c >= fixarray && c < fixstr:
		h.Items = uint64(c & 15)
	case c >= fixstr && c < null:
		h.Body = uint64(c & 31)
	case k == ofMap && c >= map16:
		h.Items = 2 * arg
	case k == ofArray:
		h.Items = arg
	case k == ofStr, k == ofBin:
		h.Body = arg
	case c >= fixext1 && c <= fixext16:
		h.Body = 1 + 1<<(c-fixext1)
	case k == ofExt:
		h.Body = 1 + arg
	}
	return h
}
