package client

import (
	"errors"
	"fmt"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A Record is a serialized dictionary.
type Record struct {
	Codec codec.Codec // nil: the client's
	Bytes []byte
}

// A checker checks that bytes are exactly one dictionary of a format.
type checker struct {
	codec    codec.Codec
	limits   codec.Limits
	scanners sync.Pool // of codec.Scanner
}

// check returns the bytes of the only dictionary in b, without white space or separators around
// it.
func (c *checker) check(b []byte) ([]byte, error) {
	s, ok := c.scanners.Get().(codec.Scanner)
	if !ok {
		s = c.codec.NewScanner(c.limits)
	}
	start, end, err := s.Next(b)
	if errors.Is(err, codec.ErrIncomplete) {
		start, end, err = s.End(b)
	}
	if err != nil {
		return nil, fmt.Errorf("dictwire: the record is not one dictionary: %w", err)
	}
	rest := b[end:]
	if from, _, err := s.Next(rest); !errors.Is(err, codec.ErrIncomplete) || from != len(rest) {
		return nil, fmt.Errorf("dictwire: the record is not one dictionary: %w", &codec.SyntaxError{
			Codec: c.codec.Name(), Code: fault.Malformed, Offset: end, Msg: "want nothing after the dictionary",
		})
	}
	c.scanners.Put(s)
	record := b[start:end:end]
	if codec.FramesOnly(c.codec) {
		if _, err := c.codec.Decode(record, c.limits); err != nil {
			return nil, fmt.Errorf("dictwire: the record is not one dictionary: %w", err)
		}
	}
	return record, nil
}

// An item is what is sent: a dictionary, or a serialized one.
type item struct {
	codec codec.Codec
	dict  *dict.Dict // nil: bytes
	bytes []byte
}

// append appends the item's serialization.
func (i *item) append(dst []byte) ([]byte, error) {
	if i.dict == nil {
		return append(dst, i.bytes...), nil
	}
	return i.codec.Append(dst, i.dict)
}

// item converts the value of a caller to an item.
func (c *Client) item(v any) (item, error) {
	r, ok := v.(Record)
	if !ok {
		d, err := dict.From(v)
		return item{codec: c.o.Codec, dict: d}, err
	}
	if r.Codec == nil {
		r.Codec = c.o.Codec
	}
	checker := c.checkers[r.Codec.Name()]
	if checker == nil {
		return item{}, fmt.Errorf("dictwire: the native session has no format %s", r.Codec.Name())
	}
	record, err := checker.check(r.Bytes)
	return item{codec: r.Codec, bytes: record}, err
}
