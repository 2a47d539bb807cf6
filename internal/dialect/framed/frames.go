package framed

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// frames is the format of a connection: each record has a format of its own, and a head
// before it.
type frames struct {
	framing framing
	codecs  map[string]codec.Codec
	format  codec.Codec // of the first good record; nil before that
}

var _ codec.Mixed = (*frames)(nil)

// Name returns "framed".
func (*frames) Name() string { return Kind.Name }

// MediaType returns the type of arbitrary bytes, since none is registered.
func (*frames) MediaType() string { return "application/octet-stream" }

// Terminator returns nothing: a frame is self-delimiting.
func (*frames) Terminator() string { return "" }

// Of returns the codec of a record. For a record in no format it is JSON.
func (f *frames) Of(record []byte) codec.Codec {
	if c, err := f.codec(record); err == nil {
		return c
	}
	return json.Codec{}
}

// codec returns the codec of a record, or an *[fault.Error].
func (f *frames) codec(record []byte) (codec.Codec, error) {
	p, err := dialect.SniffRecord(record)
	if err != nil {
		return nil, err
	}
	return f.codecs[p.Format()], nil
}

// Decode decodes a record, without its head.
func (f *frames) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	return f.Of(src).Decode(src, lim)
}

// Append appends a frame, in the format of the first good record.
func (f *frames) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	var format codec.Codec = json.Codec{}
	if f.format != nil {
		format = f.format
	}
	record, err := format.Append(nil, d)
	if err != nil {
		return dst, err
	}
	return f.framing.append(dst, format, record), nil
}

// NewScanner returns a scanner of frames.
func (f *frames) NewScanner(lim codec.Limits) codec.Scanner {
	return &scanner{f: f, limits: lim.Effective(), within: map[string]codec.Scanner{}}
}

// A scanner finds the records in frames.
type scanner struct {
	f      *frames
	limits codec.Limits
	skip   int64 // bytes of a refused record that are still to come
	within map[string]codec.Scanner
}

// Next implements [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	at := int(min(s.skip, int64(len(buf))))
	if s.skip -= int64(at); at == len(buf) {
		return at, at, codec.ErrIncomplete
	}
	h, err := s.f.framing.parse(buf[at:])
	switch {
	case errors.Is(err, codec.ErrIncomplete):
		return at, at, err
	case err != nil:
		return at, len(buf), s.lost(fmt.Sprintf("want %s: %v", s.f.framing, err))
	case h.length == 0:
		return at, len(buf), s.lost("a frame of length zero")
	case h.length > maxLength(s.limits):
		return at, len(buf), s.lost(fmt.Sprintf("a frame of %d bytes, more than %d", h.length, maxLength(s.limits)))
	}
	start = at + h.size
	switch there := int64(len(buf) - start); {
	case h.refuse != "" || h.length > int64(s.limits.RecordBytes):
		there = min(there, h.length)
		s.skip = h.length - there
		return start, start + int(there), s.refused(h)
	case there < h.length:
		return at, at, codec.ErrIncomplete
	}
	end = start + int(h.length)
	first, last, err := s.record(buf[start:end])
	if err != nil {
		return start, end, err
	}
	s.skip = h.length - int64(last)
	return start + first, start + last, nil
}

// lost returns the fault that ends the sequence.
func (s *scanner) lost(text string) error {
	return &codec.SyntaxError{
		Codec: Kind.Name, Code: fault.Malformed, Final: true,
		Msg: text + "; the sequence ends here, since where the next frame begins is not certain",
	}
}

// refused returns why a record is skipped.
func (s *scanner) refused(h head) error {
	if h.refuse != "" {
		return &codec.SyntaxError{Codec: Kind.Name, Code: fault.Unsupported, Msg: h.refuse}
	}
	return &codec.SyntaxError{
		Codec: Kind.Name, Code: fault.TooLarge, Msg: fmt.Sprintf("a record of %d bytes, more than %d", h.length, s.limits.RecordBytes),
		Hint: "split it, or raise Limits.RecordBytes",
	}
}

// record finds the dictionary in a record.
func (s *scanner) record(record []byte) (start, end int, err error) {
	c, err := s.f.codec(record)
	var f *fault.Error
	if errors.As(err, &f) {
		return 0, 0, &codec.SyntaxError{Codec: Kind.Name, Code: f.Code, Msg: f.Text, Hint: f.Hint}
	}
	scanner := s.within[c.Name()]
	if scanner == nil {
		scanner = c.NewScanner(s.limits)
		s.within[c.Name()] = scanner
	}
	start, end, err = scanner.Next(record)
	if errors.Is(err, codec.ErrIncomplete) {
		_, _, err = scanner.End(record[start:])
	}
	if rest := bytes.TrimLeft(record[end:], " \t\r\n\x00"); err == nil && len(rest) > 0 {
		err = &codec.SyntaxError{
			Codec: c.Name(), Code: fault.Malformed, Offset: len(record) - len(rest), Msg: "want nothing after the dictionary in its frame",
		}
	}
	var bad *codec.SyntaxError
	if errors.As(err, &bad) { // the scanner may be in the middle of the record
		delete(s.within, c.Name())
		passed := *bad
		passed.Final = false
		return 0, 0, &passed
	}
	if err == nil && s.f.format == nil {
		s.f.format = c
	}
	return start, end, err
}

// End implements [codec.Scanner].
func (s *scanner) End(buf []byte) (start, end int, err error) {
	if len(buf) == 0 {
		return 0, 0, io.EOF
	}
	if h, err := s.f.framing.parse(buf); err == nil {
		start = h.size
	}
	return start, len(buf), &codec.SyntaxError{
		Codec: Kind.Name, Code: fault.Truncated, Offset: len(buf) - start, Msg: "the connection ended within a frame",
	}
}

// Resume does nothing: a length says where the next record begins.
func (*scanner) Resume() {}

// Scratch implements [codec.Scanner].
func (s *scanner) Scratch() (n int) {
	for _, of := range s.within {
		n += of.Scratch()
	}
	return n
}

// Release implements [codec.Scanner].
func (s *scanner) Release() {
	for _, of := range s.within {
		of.Release()
	}
}
