// Package cbor is the CBOR codec: RFC 8949, and sequences of it, RFC 8742. It
// represents every type.
//
//	b, err := cbor.Codec{}.Append(nil, d)
//	d, err := cbor.Codec{}.Decode(b, codec.Limits{})
//
// # What is accepted
//
// A well-formed map, self-described (tag 55799) or not, or an ordered dictionary
// (see below), with heads of any width, strings, lists and maps of indefinite
// length, and floats of any width. Strings must be UTF-8. A key, or an item of a
// set, that comes twice is an error; keys are equal as in Python, so 1, 1.0 and
// true are one key, and a NaN equals nothing. A list in a key is a tuple, and a
// set in a key is a frozenset, as in Python's cbor2.
//
//	kind                CBOR
//	null, bool          simple values 22, 20 and 21
//	int                 major types 0 and 1; beyond 64 bits tags 2 and 3
//	float               the shortest of 16, 32 and 64 bits that holds it
//	complex             tag 43000, a list of two floats
//	decimal             tag 4; object Decimal where that can't
//	string              major type 3; with lone surrogates tag 273 and WTF-8; with
//	                    pairs of them, as two code points, object str
//	bytes, bytearray    major type 2; object bytearray
//	uuid                tag 37
//	datetime            tag 0 with an offset in minutes; object datetime with any
//	                    other zone, fold or none; tag 1 is read, as UTC
//	date                tag 1004; tag 100 is read
//	time                object time
//	timedelta           tag 1002; object timedelta if negative
//	list, tuple         major type 4; object tuple
//	set, frozenset      tag 258; object frozenset
//	dict, ordered dict  major type 5; object OrderedDict
//	tagged              any other tag or simple value; object msgpack.ExtType
//
// An object is tag 27 before a list of its name and arguments: [Objects] is
// the table. Objects of other names are kept as tagged values. Tags 25, 28, 29 and
// 256, by which cbor2 writes references within a document if asked to, are
// refused. Content that a known tag does not allow, or that Python has no value
// for, is an error. Times have nanoseconds. A time in tag 0 that no datetime can represent
// stays a tagged value: a leap second, one with more than 9 digits of a second, one in the
// year 0. Seconds that are a float, in tags 1 and 1002, are
// rounded to microseconds, as Python does.
//
// # What is written
//
// Preferred serialization (RFC 8949 §4.1) of definite length, keys in their order.
// An ordered dictionary at the top is self-described (tag 55799), so that the first bytes
// of a connection identify CBOR.
//
// # Sequences
//
// A scanner reads dictionaries back to back. In a bare sequence (codec.Scanner's
// Resume) the next one begins where the lengths of a bad one say that it ends. If they
// don't say that, or if there is a number or a string instead of a dictionary, the
// sequence ends.
package cbor

import (
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/walk"
	"github.com/dictwire/dictwire/dict"
)

const name = "cbor"

// A Codec is the CBOR codec. The zero Codec is ready to use.
type Codec struct{}

var _ codec.Codec = Codec{}

// Name returns "cbor".
func (Codec) Name() string { return name }

// MediaType returns "application/cbor".
func (Codec) MediaType() string { return "application/cbor" }

// Terminator returns nothing: a dictionary is self-delimiting.
func (Codec) Terminator() string { return "" }

var parsers = sync.Pool{New: func() any { return new(parser) }}

// Decode returns the dictionary in src. See [codec.Codec].
func (Codec) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	p := parsers.Get().(*parser)
	p.Begin(format{}, src, lim)
	p.chunks.open = false
	end := p.Repeat(usual, src)
	if end == 0 {
		if end = p.run(src); end > 0 {
			p.Learn(usual, src[:end])
		}
	}
	if end == walk.Incomplete {
		end = p.truncated(src)
	}
	d, err := p.Decoded(src, end)
	if p.Small() {
		parsers.Put(p)
	}
	return d, err
}
