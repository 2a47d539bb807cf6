package msgpack

import "fmt"

// format is MessagePack in what faults say.
type format struct{ Codec }

// Describe names the item whose first byte stands at i.
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
