// Package codec is the seam between bytes and dictionaries. A [Codec] is one
// serialization; each has a package of its own below this one.
package codec

import (
	"errors"

	"github.com/dictwire/dictwire/dict"
)

// A Codec is one serialization of dictionaries: a configured value such as
// json.Codec{}, which any number of goroutines may use at once.
type Codec interface {
	// Name is the format's name, in lower case: "json".
	Name() string

	// MediaType is the format's media type: "application/json".
	MediaType() string

	// Terminator is what a writer puts behind each dictionary of a sequence: a
	// line feed in text formats, nothing where a dictionary tells its own end.
	Terminator() string

	// NewScanner returns a scanner for one connection.
	NewScanner(lim Limits) Scanner

	// Decode returns the one dictionary that src holds. The dictionary refers
	// to src, which must not change as long as it is in use. The error is a
	// *[SyntaxError].
	Decode(src []byte, lim Limits) (*dict.Dict, error)

	// Append appends the serialization of d to dst. The error is a
	// *[LossError], where the format can't hold a value; dst is then as it was.
	Append(dst []byte, d *dict.Dict) ([]byte, error)
}

// A Scanner finds the dictionaries of a sequence in a growing buffer. It
// checks all that Decode checks, and builds nothing: what it accepts, Decode
// decodes. Only where a format can't be checked without being decoded, as pickle
// can't, a scanner just frames: what Decode accepts, it frames alike. It belongs
// to one goroutine.
type Scanner interface {
	// Next finds the next dictionary. buf begins where the answer before it
	// says:
	//
	//   - nil: the dictionary is buf[start:end]. The next call's buf begins at
	//     end.
	//   - ErrIncomplete: nothing is wrong so far. The next call's buf begins at
	//     start and holds more behind the same bytes; the scanner goes on where
	//     it stopped, so that the work is linear however the bytes arrive. Where
	//     start is len(buf), nothing of a record has come yet, and the sequence
	//     may end here.
	//   - *SyntaxError: the record that begins at start is bad, and not a record
	//     begins before end. Unless the error is Final, the next call's buf
	//     begins at end, and Next goes on with the next record.
	//
	// In the steady state it allocates nothing.
	Next(buf []byte) (start, end int, err error)

	// End says what the sequence ends with, once no more bytes come: buf is what
	// Next would be called with. It returns io.EOF where nothing is left, else a
	// *SyntaxError as Next does, for a record that is cut off. Unless that is
	// Final, Next goes on at end.
	End(buf []byte) (start, end int, err error)

	// Resume makes the scanner one of a bare sequence. After a bad record it goes
	// on where the next beginning is certain, and an array of dictionaries is a
	// sequence of its items, in formats whose package says so. Otherwise every
	// fault is Final. It is called before the first Next.
	Resume()

	// Scratch returns the bytes of memory that the scanner holds.
	Scratch() int

	// Release gives that memory back, where no record has begun. It is for
	// connections that fall silent.
	Release()
}

// A Framer is a Codec whose scanners only find where a dictionary ends: only
// Decode tells whether it is one.
type Framer interface {
	Codec
	FramesOnly() bool
}

// FramesOnly reports whether c's scanners only find where a dictionary ends.
func FramesOnly(c Codec) bool {
	f, ok := c.(Framer)
	return ok && f.FramesOnly()
}

// A Mixed is a Codec whose records are each in one of several formats.
type Mixed interface {
	Codec

	// Of returns the codec of a record that a scanner has found.
	Of(record []byte) Codec
}

// Of returns the codec that a record of c is in: c, unless that is [Mixed].
func Of(c Codec, record []byte) Codec {
	if m, ok := c.(Mixed); ok {
		return m.Of(record)
	}
	return c
}

// ErrIncomplete is what [Scanner.Next] returns when the dictionary does not
// end in the buffer.
var ErrIncomplete = errors.New("codec: incomplete")
