// Package codec is the seam between bytes and dictionaries. A [Codec] is one serialization
// format; each is implemented by a package below this one.
package codec

import (
	"errors"

	"github.com/dictwire/dictwire/dict"
)

// A Codec is one serialization format: a configured value such as json.Codec{}, which any number
// of goroutines may use at once.
type Codec interface {
	// Name returns the format's name, in lower case: "json".
	Name() string

	// MediaType returns the format's media type: "application/json".
	MediaType() string

	// Terminator returns what a writer appends to each dictionary of a sequence: a line feed in
	// text formats, "" if dictionaries mark their own end.
	Terminator() string

	// NewScanner returns a scanner for one connection.
	NewScanner(lim Limits) Scanner

	// Decode decodes src, which must be exactly one dictionary. The dictionary refers to src, which
	// must not change while the dictionary is in use. The error is a *[SyntaxError].
	Decode(src []byte, lim Limits) (*dict.Dict, error)

	// Append appends the serialization of d to dst. If the format can't hold a value, it returns
	// dst unchanged and a *[LossError].
	Append(dst []byte, d *dict.Dict) ([]byte, error)
}

// A Scanner finds the dictionaries of a sequence in a growing buffer. It makes all checks of
// Decode, without decoding: Decode accepts whatever a scanner accepts. The exception are
// formats such as pickle, which can't be checked without decoding; their scanners only find
// where each dictionary ends. A Scanner must be used by one goroutine only.
type Scanner interface {
	// Next finds the next dictionary. Its error says where the buf of the next call must begin:
	//
	//   - nil: the dictionary is buf[start:end]. The next buf begins at end.
	//   - ErrIncomplete: there is no fault so far. The next buf begins at start, with the same
	//     bytes and more after them. The scanner continues where it stopped, so the work is
	//     linear however the bytes arrive. If start is len(buf), no record has begun, and the
	//     sequence may end here.
	//   - *SyntaxError: the record at start is bad, and no other record begins before end. Unless
	//     the error is Final, the next buf begins at end, and Next finds the next record.
	//
	// In the steady state Next does not allocate.
	Next(buf []byte) (start, end int, err error)

	// End is called instead of Next, with the same buf, when there are no more bytes. It returns
	// io.EOF if nothing is left, or a *SyntaxError for a truncated record. Unless that is Final,
	// Next continues at end.
	End(buf []byte) (start, end int, err error)

	// Resume makes the scanner one of a bare sequence, before the first call of Next. After a bad
	// record it continues at the next record whose beginning is certain, and in formats whose
	// package says so, an array of dictionaries is a sequence of its items. Without Resume,
	// every fault is Final.
	Resume()

	// Scratch returns the scanner's memory, in bytes.
	Scratch() int

	// Release frees that memory, if no record has begun. It is for connections that are idle.
	Release()
}

// An Extender is a Scanner of a format that other programs extend beyond its standard.
type Extender interface {
	Scanner

	// Extended reports whether any of the dictionaries that were found since the last call
	// is beyond the standard, so that a strict reader would refuse it.
	Extended() bool
}

// A Framer is a Codec whose scanners may only find where a dictionary ends, and leave all checks
// to Decode.
type Framer interface {
	Codec
	FramesOnly() bool
}

// FramesOnly reports whether c's scanners only find where a dictionary ends.
func FramesOnly(c Codec) bool {
	f, ok := c.(Framer)
	return ok && f.FramesOnly()
}

// A Mixed is a Codec for sequences whose records have different formats.
type Mixed interface {
	Codec

	// Of returns the codec of a record that its scanner found.
	Of(record []byte) Codec
}

// Of returns the codec of a record of c, which is c itself unless c is [Mixed].
func Of(c Codec, record []byte) Codec {
	if m, ok := c.(Mixed); ok {
		return m.Of(record)
	}
	return c
}

// ErrIncomplete is returned by [Scanner.Next] if the dictionary does not end in the buffer.
var ErrIncomplete = errors.New("codec: incomplete")
