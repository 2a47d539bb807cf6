// Package wire has the messages of the native session, which docs/protocol.md specifies,
// as types for both sides. Each message is a JSON dictionary on one line, ended by
// exactly one LF. Unknown fields are ignored.
package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

const (
	// Version is the version of the protocol.
	Version = 1

	// ALPN is the name of the protocol in TLS (RFC 7301).
	ALPN = "dictwire.1"

	// MaxGreeting is the longest greeting, in bytes.
	MaxGreeting = 8 << 10

	// MaxLine is the longest message other than a greeting, in bytes, without the records
	// that follow it. The longest lines list the lengths of many records.
	MaxLine = 16 << 20

	// Window is the most records of a session that may be in flight.
	Window = 65536

	// MaxNumber is the highest record number in a greeting. The numbers after it suffice
	// for ever and still fit into messages.
	MaxNumber = 1 << 62

	// BeatEvery is the longest time in which a server sends nothing.
	BeatEvery = 5 * time.Second

	// BeatWithin is how long a client waits for a message.
	BeatWithin = 15 * time.Second
)

// limits bound a message. The longest messages have a length for each of many records.
var limits = codec.Limits{RecordBytes: MaxLine, Items: 4_000_000}

// appendLine appends a message: a dictionary on a line.
func appendLine(dst []byte, d *dict.Dict) []byte {
	dst, err := json.Codec{}.Append(dst, d)
	if err != nil {
		panic("wire: " + err.Error()) // messages hold nothing that JSON can't
	}
	return append(dst, '\n')
}

// A builder builds a message's dictionary, leaving out empty fields.
type builder struct{ d *dict.Dict }

func (b builder) number(key string, n uint64) {
	if n != 0 {
		b.d.Set(key, dict.Int(int64(n)))
	}
}

func (b builder) text(key, s string) {
	if s != "" {
		b.d.Set(key, dict.String(s))
	}
}

func (b builder) yes(key string, is bool) {
	if is {
		b.d.Set(key, dict.Bool(true))
	}
}

// times adds times in nanoseconds since 1970. Unknown ones become null.
func (b builder) times(key string, all []int64) {
	if len(all) == 0 {
		return
	}
	list := make([]any, len(all))
	for i, t := range all {
		if t != store.UnknownTime {
			list[i] = time.Unix(0, t).UTC().Format(time.RFC3339Nano)
		}
	}
	v, _ := dict.ValueOf(list) // strings and null
	b.d.Set(key, v)
}

// A FieldError says which field of a message is wrong.
type FieldError struct {
	Field string
	Want  string
}

func (e *FieldError) Error() string { return fmt.Sprintf("/%s: want %s", e.Field, e.Want) }

// A reader reads the fields of a message and keeps the first fault.
type reader struct {
	d   *dict.Dict
	err error
}

func (r *reader) fault(key, want string) {
	if r.err == nil {
		r.err = &FieldError{Field: key, Want: want}
	}
}

func (r *reader) has(key string) bool {
	_, ok := r.d.Get(key)
	return ok
}

// number reads an integer from 0 to 2^63−1. A missing field is 0.
func (r *reader) number(key string) uint64 {
	v, ok := r.d.Get(key)
	if !ok {
		return 0
	}
	n, ok := v.Int()
	if !ok || n < 0 {
		r.fault(key, "an integer from 0 to 2^63-1")
		return 0
	}
	return uint64(n)
}

// recordNumber reads the number of a record, from 0 to MaxNumber.
func (r *reader) recordNumber(key string) uint64 {
	n := r.number(key)
	if n > MaxNumber {
		r.fault(key, "an integer from 0 to 2^62")
	}
	return n
}

func (r *reader) text(key string) string {
	v, ok := r.d.Get(key)
	if !ok {
		return ""
	}
	s, ok := v.Text()
	if !ok {
		r.fault(key, "a string")
	}
	return s
}

func (r *reader) yes(key string) bool {
	v, ok := r.d.Get(key)
	if !ok {
		return false
	}
	is, ok := v.Bool()
	if !ok {
		r.fault(key, "true or false")
	}
	return is
}

// texts reads a list of strings. A single string is a list of one.
func (r *reader) texts(key string) []string {
	v, ok := r.d.Get(key)
	if !ok {
		return nil
	}
	if s, ok := v.Text(); ok {
		return []string{s}
	}
	if v.Kind() != dict.KindList {
		r.fault(key, "a string or a list of strings")
		return nil
	}
	var texts []string
	for item := range v.Items() {
		s, ok := item.Text()
		if !ok {
			r.fault(key, "a list of strings")
			return nil
		}
		texts = append(texts, s)
	}
	return texts
}

// lengths reads a list of integers from 1 to 2^32−1.
func (r *reader) lengths(key string) []uint32 {
	v, ok := r.d.Get(key)
	if !ok || v.Kind() != dict.KindList {
		r.fault(key, "a list of lengths")
		return nil
	}
	lengths := make([]uint32, 0, v.Len())
	for item := range v.Items() {
		n, ok := item.Int()
		if !ok || n < 1 || n > math.MaxUint32 {
			r.fault(key, "a list of lengths, integers from 1")
			return nil
		}
		lengths = append(lengths, uint32(n))
	}
	return lengths
}

func (r *reader) dict(key string) *dict.Dict {
	v, _ := r.d.Get(key)
	d, ok := v.Dict()
	if !ok {
		r.fault(key, "a dictionary")
		return dict.Of()
	}
	return d
}

func (r *reader) time(key string) time.Time {
	s := r.text(key)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		r.fault(key, "a time of RFC 3339")
	}
	return t.UTC()
}

// times reads a list of times. Unknown ones are null.
func (r *reader) times(key string) []int64 {
	v, ok := r.d.Get(key)
	if !ok {
		return nil
	}
	if v.Kind() != dict.KindList {
		r.fault(key, "a list of times")
		return nil
	}
	all := make([]int64, 0, v.Len())
	for item := range v.Items() {
		if item.IsNull() {
			all = append(all, store.UnknownTime)
			continue
		}
		text, _ := item.Text()
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			r.fault(key, "a list of times of RFC 3339, or null")
			return nil
		}
		all = append(all, t.UnixNano())
	}
	return all
}
