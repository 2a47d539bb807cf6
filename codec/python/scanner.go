package python

import (
	"io"
	"unsafe"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/line"
	"github.com/dictwire/dictwire/codec/internal/scratch"
	"github.com/dictwire/dictwire/dict"
)

// keepScratch is the memory in bytes that is always kept from record to record.
const keepScratch = 16 << 10

// A scanner finds the dictionaries of a sequence.
type scanner struct {
	p        parser
	resumes  bool // see codec.Scanner's Resume
	within   bool // a record has begun
	search   line.Search
	patience scratch.Patience
}

// NewScanner returns a scanner for one sequence. See the package comment.
func (Codec) NewScanner(lim codec.Limits) codec.Scanner {
	s := new(scanner)
	s.p.lim = lim.Effective()
	s.search.Quotes = `"'`
	return s
}

// Resume makes the sequence a bare one. See [codec.Scanner].
func (s *scanner) Resume() { s.resumes = true }

func (s *scanner) Scratch() int { return s.p.scratch() }

// Next finds the next dictionary. See [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	if !s.within {
		if start, end, err = s.search.Skip(buf, name); err != nil {
			return start, end, err
		}
		start += blanks(buf[start:])
		if start == len(buf) {
			return start, start, codec.ErrIncomplete
		}
		s.within = true
		s.p.reset()
	}
	record := buf[start:]
	switch n := s.p.run(record); n {
	case incomplete:
		return start, start, codec.ErrIncomplete
	case failed:
		err, end = s.bad(record)
		return start, start + end, err
	default:
		s.within = false
		if s.patience.Ends(n) {
			s.shrink()
		}
		return start, start + n, nil
	}
}

// End says what the sequence ends with. See [codec.Scanner].
func (s *scanner) End(buf []byte) (start, end int, err error) {
	if !s.within {
		return len(buf), len(buf), io.EOF
	}
	s.p.truncated(buf)
	err, end = s.bad(buf)
	return 0, end, err
}

// bad returns the error of the bad record at the beginning of buf, and its end as far as
// that is known.
func (s *scanner) bad(buf []byte) (err *codec.SyntaxError, end int) {
	err = s.p.err
	s.within = false
	if !s.resumes {
		err.Final = true
		return err, len(buf)
	}
	text := -1
	if s.p.state == inString {
		text = s.p.tok
	}
	return err, s.search.Bad(err, buf, text, false)
}

// Release gives the scanner's memory back. See [codec.Scanner].
func (s *scanner) Release() {
	if !s.within {
		s.p.release()
	}
}

// shrink gives memory back that many records in a row have not needed.
func (s *scanner) shrink() {
	if s.patience.Unneeded(s.p.scratch(), keepScratch) {
		s.p.release()
	}
}

func (p *parser) scratch() int {
	return int(unsafe.Sizeof(frame{}))*cap(p.frames) + p.keys.Scratch() + p.b.Scratch() + cap(p.text) + cap(p.digits) + p.zones.bytes
}

func (p *parser) release() {
	p.frames, p.keys, p.b, p.text, p.digits, p.zones = nil, keyset.Set{}, dict.Builder{}, nil, nil, zoneCache{}
}
