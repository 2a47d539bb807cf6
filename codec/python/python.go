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
// commas, line continuation. A duplicate item of a set counts once.
//
// In addition, what repr prints for the other types, in exactly that form: nan, inf,
// OrderedDict({…}) and OrderedDict([(k, v), …]), frozenset({…}),
// bytearray(b'…'), Decimal('…'), UUID('…'), datetime.datetime, .date, .time,
// .timedelta and .timezone, zoneinfo.ZoneInfo(key='…'), and of the libraries
// cbor2 and msgpack CBORTag(n, v), CBORSimpleValue(value=n), undefined and
// ExtType(code=n, data=b'…'). A complex number is read as repr means it:
// (-0-0j) and -2j keep the signs of their zeros, which Python's arithmetic
// would lose.
//
// Refused, although literal_eval accepts them: a top level that is not a dictionary or
// is in parentheses, a duplicate key, a record over a limit, comments,
// escapes by name (\N{…}) and the word "..." for Ellipsis.
//
// # Sequences
//
// A scanner reads dictionaries back to back, with any white space between them. In a
// bare sequence (codec.Scanner's Resume) the next one after a bad one begins after a
// line feed if the bad one has ended with its line: there is no line feed before the
// fault, and no open bracket. Otherwise the bad record ends the sequence
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

	// Lossy makes Append cut times to whole microseconds, the precision of Python.
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

// Decode returns the dictionary in src, which may be surrounded by white space.
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
			end = p.unexpected(record, end, "nothing after the dictionary")
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
