package native

import (
	"errors"
	"io"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
)

// mixed is the format "json+pickle": each record is JSON or a pickle of protocol 2 or
// later, told apart by its first byte. Python programs send it, since JSON holds most of
// their dictionaries and pickle the rest.
type mixed struct {
	json   json.Codec
	pickle pickle.Codec
}

var _ codec.Mixed = mixed{}

// Name returns "json+pickle".
func (mixed) Name() string { return "json+pickle" }

// MediaType returns the type of arbitrary bytes, since none is registered.
func (mixed) MediaType() string { return "application/octet-stream" }

// Terminator returns nothing: a dictionary is self-delimiting.
func (mixed) Terminator() string { return "" }

// Of returns the codec of a record.
func (m mixed) Of(record []byte) codec.Codec {
	if len(record) > 0 && record[0] == pickleProto {
		return m.pickle
	}
	return m.json
}

// pickleProto is the first byte of a pickle of protocol 2 or later, and of no JSON.
const pickleProto = 0x80

// Decode decodes a record with its codec.
func (m mixed) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	return m.Of(src).Decode(src, lim)
}

// Append appends JSON if that is exact, and a pickle otherwise.
func (m mixed) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	if out, err := m.json.Append(dst, d); err == nil {
		return out, nil
	}
	return m.pickle.Append(dst, d)
}

// NewScanner returns a scanner that recognizes each record by its first byte.
func (m mixed) NewScanner(lim codec.Limits) codec.Scanner {
	s := &mixedScanner{json: m.json.NewScanner(lim).(codec.Extender), pickle: m.pickle.NewScanner(lim)}
	s.of = s.json
	return s
}

// A mixedScanner passes each record to the scanner of its codec.
type mixedScanner struct {
	json   codec.Extender
	pickle codec.Scanner
	of     codec.Scanner // for the current or next record
	begun  bool          // a record has begun
}

// choose chooses the scanner for the next record, and returns how many bytes of white
// space precede it.
func (s *mixedScanner) choose(buf []byte) int {
	if s.begun {
		return 0
	}
	i := 0
	for i < len(buf) && strings.IndexByte(" \t\r\n", buf[i]) >= 0 {
		i++
	}
	s.of = s.json
	if i < len(buf) && buf[i] == pickleProto {
		s.of = s.pickle
	}
	return i
}

// Next implements [codec.Scanner].
func (s *mixedScanner) Next(buf []byte) (start, end int, err error) {
	i := s.choose(buf)
	if i == len(buf) {
		return i, i, codec.ErrIncomplete
	}
	start, end, err = s.of.Next(buf[i:])
	s.begun = errors.Is(err, codec.ErrIncomplete) && i+start < len(buf)
	return i + start, i + end, err
}

// End implements [codec.Scanner].
func (s *mixedScanner) End(buf []byte) (start, end int, err error) {
	i := s.choose(buf)
	if i == len(buf) {
		return i, i, io.EOF
	}
	s.begun = false
	start, end, err = s.of.End(buf[i:])
	return i + start, i + end, err
}

// Resume does nothing: no bare sequence has this format.
func (s *mixedScanner) Resume() {}

// Extended implements [codec.Extender]: pickle has no dialects.
func (s *mixedScanner) Extended() bool { return s.json.Extended() }

// Scratch implements [codec.Scanner].
func (s *mixedScanner) Scratch() int { return s.json.Scratch() + s.pickle.Scratch() }

// Release implements [codec.Scanner].
func (s *mixedScanner) Release() {
	s.json.Release()
	s.pickle.Release()
}
