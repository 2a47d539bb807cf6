// Package json is the JSON codec: RFC 8259, and beyond it just what Python's
// json module writes by default.
//
//	d, err := json.Codec{}.Decode([]byte(`{"name": "Alice", "age": 30}`), codec.Limits{})
//	fmt.Println(d) // {'name': 'Alice', 'age': 30}
//
// # What is accepted
//
// All that json.loads(b.decode("utf-8")) accepts, with the same value:
//
//   - RFC 8259, in UTF-8 without a byte order mark;
//   - the words NaN, Infinity and -Infinity;
//   - integers of any size up to Limits.Digits, kept exactly. A number with a
//     fraction or an exponent is the nearest float. If that would be infinite, or 0
//     instead of another number, it is a decimal: 1e400 stays 1e400, which json.loads
//     turns into inf;
//   - escaped lone surrogates, as in "\ud800", kept as WTF-8. A pair of them is one
//     character, so that a string which has a pair as two code points, as a pickle may,
//     is a *codec.LossError to Append.
//
// Only these are refused: a top level that is not a dictionary, a record over a limit, a
// decimal that Python can't represent (1e9999999999999999999), and, unless [KeepLast] is
// set, a duplicate key ("a" and "\u0061" are the same key).
//
// # What is written
//
// Nulls, bools, ints, floats, strings, lists and dictionaries with keys that are
// strings; and decimals beyond the range of floats, as numbers. Any other value or
// key is a *[codec.LossError].
//
// The zero Codec writes floats and strings as Python's json does: NaN, Infinity and
// "\ud800". Other programs refuse or misread them. With Codec.Strict they are a
// *[codec.LossError], too, and all output is RFC 8259. With Codec.Lossy every dictionary
// is written, as RFC 8259 with the substitutes of [Render].
//
// # Sequences
//
// A scanner reads dictionaries back to back, with any white space, NUL or RS
// (0x1E, RFC 7464) between them: newline-delimited, concatenated,
// pretty-printed. A byte order mark in front of one is skipped.
//
// In a bare sequence (codec.Scanner's Resume) an array whose first item is a
// dictionary is a sequence of its items. After a bad record the next one begins
// after RS or NUL, if one was seen, or after a line feed if the record has ended with its
// line: there is no line feed before the fault, and no open bracket. Otherwise, and within
// an array, the bad record ends the sequence
// ([codec.SyntaxError].Final).
package json

import (
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

const name = "json"

// A Codec is the JSON codec. The zero Codec is ready to use.
type Codec struct {
	// DuplicateKeys says what becomes of a key that comes twice. The zero
	// value refuses the record.
	DuplicateKeys DuplicateKeys

	// Strict makes Append write RFC 8259 alone: what Python's json writes beyond
	// it (NaN, infinities, lone surrogates) is a *codec.LossError.
	Strict bool

	// Lossy makes Append write what Render does: RFC 8259, with substitutes for what that
	// can't represent. Append then never fails.
	Lossy bool
}

// DuplicateKeys is a way of treating a key that comes twice in a dictionary.
type DuplicateKeys uint8

const (
	// Refuse makes a key that comes twice an error.
	Refuse DuplicateKeys = iota
	// KeepLast keeps the first key's place and the last key's value, as
	// Python's json.loads does.
	KeepLast
)

var _ codec.Codec = Codec{}

// Name returns "json".
func (Codec) Name() string { return name }

// MediaType returns "application/json".
func (Codec) MediaType() string { return "application/json" }

// Terminator returns a line feed.
func (Codec) Terminator() string { return "\n" }

// decoder is what Decode keeps for the next call.
type decoder struct {
	p parser
	b dict.Builder
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// Decode returns the dictionary in src, which may be surrounded by white space.
// See [codec.Codec].
func (c Codec) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	dec := decoders.Get().(*decoder)
	d, err := dec.decode(c, src, lim)
	if dec.p.scratch()+dec.b.Scratch() <= keepScratch {
		decoders.Put(dec)
	}
	return d, err
}

func (dec *decoder) decode(c Codec, src []byte, lim codec.Limits) (*dict.Dict, error) {
	p := &dec.p
	p.lim, p.keepLast, p.b = lim.Effective(), c.DuplicateKeys == KeepLast, &dec.b
	p.reset()
	start := p.spaces(src, 0)
	record := src[start:]
	p.b.Reset(record)
	end := p.repeat(record)
	if end == 0 {
		p.b.Reset(record)
		if end = p.run(record); end > 0 {
			p.learn(record[:end])
		}
	}
	if end == incomplete {
		p.truncated(record)
		end = failed
	}
	if end == failed {
		p.err.Offset += start
		return nil, p.err
	}
	if end = p.spaces(record, end); end < len(record) {
		p.unexpected(record, atStart, end, "nothing after the dictionary")
		p.err.Offset += start
		return nil, p.err
	}
	return p.b.Dict(), nil
}
