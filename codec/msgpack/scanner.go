package msgpack

import "github.com/dictwire/dictwire/codec"

// A scanner finds the dictionaries of a MessagePack sequence.
type scanner struct{ parser }

// NewScanner returns a scanner for one MessagePack sequence. See the package comment.
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
	_, end, err = s.Answer(buf[start:], n)
	return start, start + end, err
}
