// Package python is the codec of Python's own literals: it reads back what repr
// prints, and evaluates nothing.
//
//	d, err := python.Codec{}.Decode([]byte(`{'name': 'Alice', 'born': datetime.date(1994, 5, 17)}`), codec.Limits{})
//	fmt.Println(d) // {'name': 'Alice', 'born': datetime.date(1994, 5, 17)}
//
// # What is accepted
//
// A dictionary by the rules of Python's ast.literal_eval, with the same value:
// every form of string, bytes and number, implicit concatenation, trailing
// commas, line continuation. In a set an item that comes twice counts once.
//
// Beyond it, what repr prints of the other kinds, in just that form: nan, inf,
// OrderedDict({…}) and OrderedDict([(k, v), …]), frozenset({…}),
// bytearray(b'…'), Decimal('…'), UUID('…'), datetime.datetime, .date, .time,
// .timedelta and .timezone, zoneinfo.ZoneInfo(key='…'), and of the libraries
// cbor2 and msgpack CBORTag(n, v), CBORSimpleValue(value=n), undefined and
// ExtType(code=n, data=b'…'). A complex number is read as repr means it:
// (-0-0j) and -2j keep the signs of their zeros, which Python's arithmetic
// would lose.
//
// Refused, though literal_eval takes them: a top level that is no dictionary or
// is in parentheses, a key that comes twice, a record over a limit, comments,
// escapes by name (\N{…}) and the word "..." for Ellipsis.
//
// # Sequences
//
// A scanner reads dictionaries back to back, with any white space between them. In a
// bare sequence (codec.Scanner's Resume) the next one after a bad one begins after a
// line feed where the bad one has ended with its line: no line feed stands before the
// fault, and no bracket is left open. Otherwise the bad record ends the sequence
// ([codec.SyntaxError].Final).
package python

import (
	"bytes"
	"sync"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

const name = "python"

// A Codec is the codec of Python literals. The zero Codec is ready to use.
type Codec struct {
	// Python is the version of CPython whose repr Append writes. Zero means
	// dict.DefaultPython.
	Python dict.Python

	// Lossy makes Append cut times to whole microseconds, which are what Python
	// holds.
	Lossy bool
}

var _ codec.Codec = Codec{}

// Name returns "python".
func (Codec) Name() string { return name }

// MediaType returns "text/x-python".
func (Codec) MediaType() string { return "text/x-python" }

// Terminator returns a line feed.
func (Codec) Terminator() string { return "\n" }

var parsers = sync.Pool{New: func() any { return new(parser) }}

// Decode returns the dictionary that src holds, white space around it allowed.
// See [codec.Codec].
func (Codec) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	p := parsers.Get().(*parser)
	p.lim = lim.Effective()
	d, err := p.decode(src)
	if p.scratch() <= keepScratch {
		parsers.Put(p)
	}
	return d, err
}

func (p *parser) decode(src []byte) (*dict.Dict, error) {
	start := blanks(src)
	record := src[start:]
	p.reset()
	end := p.run(record)
	if end == incomplete {
		end = p.truncated(record)
	}
	if end >= 0 {
		if end += blanks(record[end:]); end < len(record) {
			p.state = atStart
			end = p.unexpected(record, end, "nothing behind the dictionary")
		}
	}
	if end == failed {
		p.err.Offset += start
		return nil, p.err
	}
	return p.b.Dict(), nil
}

// Append appends d as CPython's repr prints it. Only times with nanoseconds, which
// Python lacks, are a *[codec.LossError], unless c is Lossy. See [codec.Codec].
func (c Codec) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	version := c.Python
	if version == 0 {
		version = dict.DefaultPython
	}
	out := dict.AppendRepr(dst, d.Value(), version)
	if !bytes.Contains(out[len(dst):], []byte("nanosecond")) {
		return out, nil // as AppendRepr prints them
	}
	loss := substitute.LossOfNanoseconds(name, d.Value())
	if loss == nil {
		return out, nil
	}
	if c.Lossy {
		var v dict.Value
		if v, loss = substitute.CutNanoseconds(name, d.Value()); loss == nil {
			return dict.AppendRepr(dst, v, version), nil
		}
	}
	return dst, loss
}
