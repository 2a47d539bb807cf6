package msgpack

import (
	"io"
	"unsafe"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/dict"
)

const (
	// keepScratch is the memory in bytes that is always kept from record to
	// record.
	keepScratch = 8 << 10
	// patience is how many records in a row must not need more before that is
	// given back.
	patience = 256
)

// A scanner finds the dictionaries of a MessagePack sequence.
type scanner struct {
	p      parser
	within bool // a record has begun
}

// NewScanner returns a scanner for one MessagePack sequence. See the package comment.
func (Codec) NewScanner(lim codec.Limits) codec.Scanner {
	s := new(scanner)
	s.p.limit(lim)
	return s
}

// Skipping returns false: nothing is looked for behind a bad record.
func (s *scanner) Skipping() bool { return false }

func (s *scanner) Scratch() int { return s.p.memory() }

// Next finds the next dictionary. See [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	if !s.within {
		if len(buf) == 0 {
			return 0, 0, codec.ErrIncomplete
		}
		s.within = true
	}
	switch n := s.p.run(buf); n {
	case incomplete:
		return 0, 0, codec.ErrIncomplete
	case failed:
		return 0, len(buf), s.bad(len(buf))
	default:
		s.within = false
		s.p.pos, s.p.items = 0, 0 // all else is as reset leaves it
		s.p.shrink(n)
		return 0, n, nil
	}
}

// End says what the sequence ends with. See [codec.Scanner].
func (s *scanner) End(buf []byte) (start, end int, err error) {
	if !s.within {
		return len(buf), len(buf), io.EOF
	}
	s.p.truncated(buf)
	return 0, len(buf), s.bad(len(buf))
}

// bad ends the sequence.
func (s *scanner) bad(size int) error {
	err := s.p.err
	err.Final = true
	s.within = false
	s.p.reset()
	s.p.shrink(size)
	return err
}

// Release gives the scanner's memory back. See [codec.Scanner].
func (s *scanner) Release() {
	if !s.within {
		s.p.free()
	}
}

func (p *parser) memory() int {
	return int(unsafe.Sizeof(frame{}))*cap(p.frames) + p.keys.Scratch() + p.scratch.Scratch()
}

func (p *parser) free() {
	p.frames, p.keys, p.scratch = nil, keyset.Set{}, dict.Builder{}
}

// shrink gives memory back that many records in a row have not needed. size is
// that of the last one.
func (p *parser) shrink(size int) {
	if n := p.memory(); n <= keepScratch || n <= 8*size {
		p.unneeded = 0
		return
	}
	if p.unneeded++; p.unneeded == patience {
		p.free()
		p.unneeded = 0
	}
}
