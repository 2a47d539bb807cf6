package cbor

import (
	"io"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/walk"
)

// A scanner finds the dictionaries of a CBOR sequence.
type scanner struct{ parser }

// NewScanner returns a scanner for one CBOR sequence. See the package comment.
func (Codec) NewScanner(lim codec.Limits) codec.Scanner {
	s := new(scanner)
	s.Limit(format{}, lim)
	return s
}

// Next finds the next dictionary. See [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	if s.Passing() {
		if start, end, err = s.Pass(buf); err != nil {
			return start, end, err
		}
	}
	n := s.Repeat(usual, buf[start:])
	if n == 0 {
		if n = s.run(buf[start:]); n > 0 {
			s.Learn(usual, buf[start:start+n])
		}
	}
	if n == walk.Failed {
		s.chunks.open = false
	}
	_, end, err = s.Answer(buf[start:], n)
	return start, start + end, err
}

// End says what the sequence ends with. See [codec.Scanner].
func (s *scanner) End(buf []byte) (start, end int, err error) {
	if len(buf) == 0 {
		return 0, 0, io.EOF
	}
	return s.Answer(buf, s.truncated(buf))
}
