package json

import (
	"bytes"
	"io"
	"unsafe"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/fault"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/scratch"
)

// keepScratch is the memory in bytes that is always kept from record to record.
const keepScratch = 8 << 10

// A scanner finds the dictionaries of a JSON sequence.
type scanner struct {
	p         parser
	within    bool // a record has begun
	skipping  bool // a bad record has not ended
	begun     bool // the sequence's first bytes have been read
	separated bool // RS or NUL was seen between records
	spread    bool // a good record held a line feed
	patience  scratch.Patience
}

// NewScanner returns a scanner for one JSON sequence. See the package comment.
func (c Codec) NewScanner(lim codec.Limits) codec.Scanner {
	s := new(scanner)
	s.p.lim, s.p.keepLast = lim.Effective(), c.DuplicateKeys == KeepLast
	return s
}

func (s *scanner) Skipping() bool { return s.skipping }

func (s *scanner) Scratch() int { return s.p.scratch() }

// Next finds the next dictionary. See [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	if !s.within {
		start = s.between(buf)
		if start == len(buf) || s.skipping || !s.begun {
			return start, start, codec.ErrIncomplete
		}
		s.p.reset()
		if n := s.p.begin(buf[start:]); n > 0 {
			if s.patience.Ends(n) {
				s.shrink()
			}
			return start, start + n, nil
		}
		s.within = true
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
		s.spread = s.spread || s.p.rawLF
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

// between returns where the next record begins in buf, or how much of buf can
// be dropped while it is not there.
func (s *scanner) between(buf []byte) int {
	i := 0
	if s.skipping {
		if i = s.resume(buf); s.skipping {
			return i
		}
	}
	if !s.begun {
		const bom = "\xEF\xBB\xBF"
		got := buf[:min(len(buf), len(bom))]
		if len(got) < len(bom) && string(got) == bom[:len(got)] {
			return 0
		}
		s.begun = true
		if string(got) == bom {
			i = len(bom)
		}
	}
	for ; i < len(buf) && buf[i] <= ' '; i++ {
		switch buf[i] {
		case ' ', '\t', '\r', '\n':
		case nul, rs:
			s.separated = true
		default:
			return i
		}
	}
	return i
}

const (
	nul = 0x00
	rs  = 0x1E
)

// bad says what becomes of the bad record at the beginning of buf: its error,
// and where it ends as far as that is known.
func (s *scanner) bad(buf []byte) (err *codec.SyntaxError, end int) {
	err = s.p.err
	s.within = false
	if s.spread && !s.separated {
		err.Final = true
		return err, len(buf)
	}
	s.skipping = true
	end = 1 + s.resume(buf[1:])
	if !s.skipping && end <= err.Offset {
		fault.CutOff(err, end)
	}
	return err, end
}

// resume looks for the end of a bad record in buf. It returns where the next
// one begins and ends the skipping, or how much of buf can be dropped.
func (s *scanner) resume(buf []byte) int {
	for i := 0; ; i++ {
		n := bytes.IndexAny(buf[i:], "\n\x00\x1e")
		if n < 0 {
			return len(buf)
		}
		i += n
		if buf[i] != '\n' {
			s.skipping = false
			return i
		}
		if s.spread {
			continue
		}
		if i+1 == len(buf) {
			return i
		}
		if buf[i+1] == '{' {
			s.skipping = false
			return i + 1
		}
	}
}

// Release gives the scanner's memory back. See [codec.Scanner].
func (s *scanner) Release() {
	if !s.within {
		s.p.free()
	}
}

// shrink gives memory back that many records in a row have not needed.
func (s *scanner) shrink() {
	if s.patience.Unneeded(s.p.scratch(), keepScratch) {
		s.p.free()
	}
}

func (p *parser) free() { p.frames, p.keys, p.shape = nil, keyset.Set{}, shape{} }

func (p *parser) scratch() int {
	return int(unsafe.Sizeof(frame{}))*cap(p.frames) + p.keys.Scratch() + int(unsafe.Sizeof(shapeKey{}))*cap(p.shape.keys)
}
