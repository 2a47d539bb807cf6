package forward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dictwire/dictwire/store"
)

// A message is what a client sends: records with one tag.
type message struct {
	tag         []byte
	single      bool   // entries is one time and record, without an array
	entries     []byte // back to back
	compression string // of entries: "gzip", "zstd" or ""
	chunk       []byte // as received, to be echoed; nil: no acknowledgement is wanted
	id          []byte // the content of chunk
}

// parse parses a complete message.
func parse(b []byte) (m message, err error) {
	c := &cutter{rest: b}
	n := c.enter(isArray, "an array")
	m.tag = c.text("a tag, a string")
	if c.err == nil && n < 2 {
		c.fail("an array of at least 2 items")
	}
	items := 2
	switch {
	case c.err != nil:
	case isArray(c.rest[0]):
		list := c.item()
		head, _, _, _ := parseHead(list)
		m.entries = list[head:]
	case isText(c.rest[0]):
		m.entries = c.text("entries")
	default:
		m.single, items = true, 3
		before := c.rest
		c.item()
		if n < items {
			c.fail("a time and a record")
			break
		}
		record := c.item()
		m.entries = before[:len(before)-len(c.rest)]
		if c.err == nil && !isMap(record[0]) {
			c.fail("a record that is a map")
		}
	}
	if n > items {
		m.options(c)
	}
	if n > items+1 {
		c.fail("nothing after the option")
	}
	return m, c.err
}

// options parses a message's option: a map, or nil.
func (m *message) options(c *cutter) {
	if len(c.rest) > 0 && c.rest[0] == 0xc0 {
		c.item()
		return
	}
	for range c.enter(isMap, "an option that is a map or nil") / 2 {
		key := c.item()
		value := c.item()
		if c.err != nil || !isText(key[0]) || value[0] == 0xc0 {
			continue
		}
		switch string(c.content(key, "")) {
		case "chunk":
			m.chunk, m.id = value, c.content(value, "a chunk that is a string")
		case "compressed":
			switch name := string(c.content(value, "a compression that is a string")); name {
			case "gzip", "zstd":
				m.compression = name
			case "text", "":
			default:
				c.fail(fmt.Sprintf("gzip, zstd or text, and not entries that are compressed as %.20q", name))
			}
		}
	}
}

// maxTopic is the longest name of a topic: see store.CheckTopic.
const maxTopic = 200

// topic converts a tag to the name of a topic. Characters that a topic can't have, a
// leading "_" and empty words become "-", and the name is cut at 200 bytes. The empty tag
// becomes "", the server's own topic.
func topic(tag []byte) string {
	var name []byte
	for i, word := range bytes.Split(tag, []byte{'.'}) {
		if i > 0 {
			name = append(name, '.')
		}
		from := len(name)
		for _, r := range string(word) {
			c := byte('-')
			if r < 0x80 && (r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
				c = byte(r)
			}
			name = append(name, c)
		}
		if len(name) == from && len(tag) > 0 {
			name = append(name, '-')
		}
	}
	if len(name) > 0 && name[0] == '_' {
		name[0] = '-'
	}
	if len(name) > maxTopic {
		name = bytes.TrimRight(name[:maxTopic], ".")
	}
	return string(name)
}

// eventTime returns the time of an entry in nanoseconds since 1970. The time 0 means now,
// and becomes store.UnknownTime. An entry may have metadata in addition to its time.
func eventTime(item []byte) (int64, error) {
	if isArray(item[0]) {
		c := &cutter{rest: item}
		if c.enter(isArray, "") < 1 {
			return 0, errors.New("want a time, got an empty array")
		}
		item = c.item()
	}
	var seconds, nanoseconds uint64
	switch c := item[0]; {
	case c <= 0x7f:
		seconds = uint64(c)
	case c >= 0xcc && c <= 0xcf, c >= 0xd0 && c <= 0xd3:
		var wide [8]byte
		copy(wide[8-(len(item)-1):], item[1:])
		seconds = binary.BigEndian.Uint64(wide[:])
		if c >= 0xd0 && item[1] >= 0x80 {
			return 0, errors.New("want a time from 1970 on")
		}
	case c == 0xd7 && item[1] == 0: // EventTime
		seconds, nanoseconds = uint64(binary.BigEndian.Uint32(item[2:])), uint64(binary.BigEndian.Uint32(item[6:]))
	case c == 0xc7 && len(item) == 11 && item[2] == 0:
		seconds, nanoseconds = uint64(binary.BigEndian.Uint32(item[3:])), uint64(binary.BigEndian.Uint32(item[7:]))
	case c == 0xcb, c == 0xca: // clients from before EventTime
		return floatTime(item)
	case c == 0xc0:
		return store.UnknownTime, nil
	default:
		return 0, errors.New("want a time: an integer or an EventTime")
	}
	const most = 1 << 33 // seconds, the year 2242
	switch {
	case seconds == 0 && nanoseconds == 0:
		return store.UnknownTime, nil
	case seconds >= most || nanoseconds >= 1e9:
		return 0, errors.New("want a time before the year 2242, with less than 1e9 nanoseconds")
	}
	return int64(seconds*1e9 + nanoseconds), nil
}

// floatTime converts a floating-point number of seconds.
func floatTime(item []byte) (int64, error) {
	var seconds float64
	if item[0] == 0xcb {
		seconds = math.Float64frombits(binary.BigEndian.Uint64(item[1:]))
	} else {
		seconds = float64(math.Float32frombits(binary.BigEndian.Uint32(item[1:])))
	}
	if !(seconds >= 0 && seconds < 1<<33) {
		return 0, errors.New("want a time from 1970 to 2242")
	}
	whole, part := math.Modf(seconds)
	return int64(whole)*1e9 + int64(part*1e9), nil
}
