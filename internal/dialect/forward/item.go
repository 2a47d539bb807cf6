package forward

import (
	"encoding/binary"
	"errors"

	"github.com/dictwire/dictwire/codec"
)

// A walker finds the end of a MessagePack item that arrives in pieces.
type walker struct {
	at   int // offset reached; may be beyond the bytes that have come
	left int // items that have not begun
}

func newWalker() walker { return walker{left: 1} }

const (
	maxItems = 1 << 30 // the most items that an item may claim to hold

	// maxNumber replaces larger numbers of items or bytes, so that all fit into an int of
	// 32 bits. It is far more than a message may hold.
	maxNumber = 1 << 28
)

var errItem = errors.New("0xc1 begins no item of MessagePack")

// walk goes on in b and reports whether the item is complete; it then ends at w.at.
func (w *walker) walk(b []byte) (whole bool, err error) {
	for w.left > 0 {
		if w.at >= len(b) {
			return false, nil
		}
		head, payload, items, err := parseHead(b[w.at:])
		if errors.Is(err, codec.ErrIncomplete) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if w.left += items - 1; w.left > maxItems {
			return false, errors.New("an item that claims to hold more than there can be")
		}
		w.at += head + payload
	}
	return w.at <= len(b), nil
}

// parseHead parses the head of an item: its length in bytes, and how many bytes and items
// follow it.
func parseHead(b []byte) (head, payload, items int, err error) {
	c := b[0]
	number := func(width int) int {
		head = 1 + width
		if len(b) < head {
			err = codec.ErrIncomplete
			return 0
		}
		switch width {
		case 1:
			return int(b[1])
		case 2:
			return int(binary.BigEndian.Uint16(b[1:]))
		default:
			return int(min(binary.BigEndian.Uint32(b[1:]), maxNumber))
		}
	}
	head = 1
	switch {
	case c <= 0x7f, c >= 0xe0: // small integers
	case c <= 0x8f:
		items = 2 * int(c&0x0f)
	case c <= 0x9f:
		items = int(c & 0x0f)
	case c <= 0xbf:
		payload = int(c & 0x1f)
	case c == 0xc1:
		err = errItem
	case c <= 0xc3: // nil, false, true
	case c <= 0xc6: // bin
		payload = number(1 << (c - 0xc4))
	case c <= 0xc9: // ext
		payload = number(1<<(c-0xc7)) + 1
	case c <= 0xcb: // float
		payload = 4 << (c - 0xca)
	case c <= 0xcf: // uint
		payload = 1 << (c - 0xcc)
	case c <= 0xd3: // int
		payload = 1 << (c - 0xd0)
	case c <= 0xd8: // fixext
		payload = 1 + 1<<(c-0xd4)
	case c <= 0xdb: // str
		payload = number(1 << (c - 0xd9))
	case c <= 0xdd: // array
		items = number(2 << (c - 0xdc))
	default: // map
		items = 2 * number(2<<(c-0xde))
	}
	return head, payload, items, err
}

// isArray reports whether an item is an array.
func isArray(c byte) bool { return c >= 0x90 && c <= 0x9f || c == 0xdc || c == 0xdd }

// isMap reports whether an item is a map.
func isMap(c byte) bool { return c >= 0x80 && c <= 0x8f || c == 0xde || c == 0xdf }

// isText reports whether an item is a string or binary.
func isText(c byte) bool {
	return c >= 0xa0 && c <= 0xbf || c >= 0xd9 && c <= 0xdb || c >= 0xc4 && c <= 0xc6
}

// A cutter cuts complete items off a slice of bytes.
type cutter struct {
	rest []byte
	err  error
}

// item cuts off an item.
func (c *cutter) item() []byte {
	w := newWalker()
	whole, err := w.walk(c.rest)
	switch {
	case c.err != nil:
		return []byte{0xc0}
	case err != nil || !whole:
		c.err = errors.Join(errors.New("an item that is cut off"), err)
		return []byte{0xc0}
	}
	item := c.rest[:w.at]
	c.rest = c.rest[w.at:]
	return item
}

// text cuts off a string or binary and returns its content.
func (c *cutter) text(what string) []byte { return c.content(c.item(), what) }

// content returns the content of a string or binary.
func (c *cutter) content(item []byte, what string) []byte {
	if !isText(item[0]) {
		c.fail(what)
		return nil
	}
	head, _, _, _ := parseHead(item)
	return item[head:]
}

// enter cuts off the head of an array or map and returns its number of items.
func (c *cutter) enter(is func(byte) bool, what string) int {
	if len(c.rest) == 0 || !is(c.rest[0]) {
		c.fail(what)
		return 0
	}
	head, _, items, err := parseHead(c.rest)
	if err != nil {
		c.fail(what)
		return 0
	}
	c.rest = c.rest[head:]
	return items
}

func (c *cutter) fail(want string) {
	if c.err == nil {
		c.err = errors.New("want " + want)
	}
}
