// Package msgpack is the MessagePack codec, by the specification of
// github.com/msgpack/msgpack, with its timestamp extension.
//
//	b, err := msgpack.Codec{}.Append(nil, d)
//	d, err := msgpack.Codec{}.Decode(b, codec.Limits{})
//
// # What is supported
//
// All formats are read; of several for a value, the shortest is written.
//
//	kind          MessagePack
//	null, bool    nil, false and true
//	int           of at most 64 bits: fixint, int and uint, by their value
//	float         float 64; float 32 is read
//	string        str, which must be UTF-8
//	bytes         bin
//	datetime      in UTC without fold: the timestamp extension (-1) in 32, 64 or 96
//	              bits, to the nanosecond
//	list          array
//	tuple         array, in a key only: a list can't be in one
//	dict          map
//	tagged        any other extension; and a timestamp that is invalid
//	              or of a year before 1 or after 9999
//
// A key, an array in it included, may be of any of these kinds that is hashable.
// A duplicate is an error; keys are equal as in Python, so 1, 1.0 and true
// are one key, and a NaN equals nothing.
//
// Any other value is a *[codec.LossError], among them larger ints, strings with lone
// surrogates, and extensions that would be read as a datetime. With Codec.Lossy,
// a substitute is written (docs/formats.md) in its place.
//
// # Sequences
//
// A scanner reads dictionaries back to back. In a bare sequence (codec.Scanner's
// Resume) the next one begins where the lengths of a bad one say that it ends. If they
// don't say that, or if there is a number or a string instead of a dictionary, the
// sequence ends.
package msgpack

import (
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

const name = "msgpack"

// A Codec is the MessagePack codec. The zero Codec is ready to use.
type Codec struct {
	// Lossy makes Append write a substitute (docs/formats.md) for a value that MessagePack
	// can't represent.
	Lossy bool
}

var _ codec.Codec = Codec{}

// Name returns "msgpack".
func (Codec) Name() string { return name }

// MediaType returns "application/vnd.msgpack".
func (Codec) MediaType() string { return "application/vnd.msgpack" }

// Terminator returns nothing: a dictionary is self-delimiting.
func (Codec) Terminator() string { return "" }

var parsers = sync.Pool{New: func() any { return new(parser) }}

// Decode returns the dictionary in src. See [codec.Codec].
func (Codec) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	p := parsers.Get().(*parser)
	p.Begin(format{}, src, lim)
	end := p.Repeat(usual, src)
	if end == 0 {
		if end = p.run(src); end > 0 {
			p.Learn(usual, src[:end])
		}
	}
	if end == walk.Incomplete {
		end = p.Truncated(src)
	}
	d, err := p.Decoded(src, end)
	if p.Small() {
		parsers.Put(p)
	}
	return d, err
}
