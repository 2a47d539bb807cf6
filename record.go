package dictwire

import (
	"errors"
	"fmt"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A Record is a dictionary that is serialized already. [Client.Send] and
// [Client.SendAsync] take one in place of a value, check that it is exactly one
// dictionary, and send its bytes as they are.
type Record struct {
	Codec codec.Codec // nil: the client's
	Bytes []byte
}

// Value returns the dictionary, for a Record within a map or a struct that
// [dict.From] converts. It needs a Codec.
func (r Record) Value() (dict.Value, error) {
	if r.Codec == nil {
		return dict.Value{}, errors.New("a Record within a value needs a Codec")
	}
	d, err := r.Codec.Decode(r.Bytes, codec.Limits{})
	if err != nil {
		return dict.Value{}, err
	}
	return d.Value(), nil
}

// A checker tells whether bytes are exactly one dictionary of a format.
type checker struct {
	codec    codec.Codec
	limits   codec.Limits
	scanners sync.Pool // of codec.Scanner
}

// check returns the bytes of the one dictionary that b holds, without what
// stands around it.
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
			Codec: c.codec.Name(), Code: fault.Malformed, Offset: end, Msg: "want nothing behind the dictionary",
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

// An item is what is sent: a dictionary, or one that is serialized.
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
