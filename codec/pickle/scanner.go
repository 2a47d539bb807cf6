package pickle

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/dictwire/dictwire/codec"
)

// A scanner frames the pickles of a sequence: it steps from opcode to opcode,
// up to STOP. It needs no memory.
type scanner struct {
	lim    codec.Limits // effective
	pos    int          // the next opcode, from the record's first byte; 0: no record has begun
	seen   int          // no line feed that ends the operand in hand is before it
	frames int          // where the last frame ends
}

// NewScanner returns a scanner for one sequence of pickles. It only frames: Decode may
// still refuse what it finds.
func (Codec) NewScanner(lim codec.Limits) codec.Scanner { return &scanner{lim: lim.Effective()} }

// Next finds the next pickle. See [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	i := s.pos
	for i < min(len(buf), s.lim.RecordBytes) {
		op := buf[i]
		if opcodes[op].size == 0 && opcodes[op].form == plain { // no operand
			switch {
			case op == opStop:
				if s.frames > i+1 {
					return s.bad(buf, frameFault(i, "the frame ends after STOP"))
				}
				s.pos, s.seen, s.frames = 0, 0, 0
				return 0, i + 1, nil
			case opcodes[op].name == "":
				return s.bad(buf, noOpcode(buf, i))
			}
			i++
			continue
		}
		from, to, next := operand(buf, i, s.seen)
		switch {
		case opcodes[op].form == lines && to-from > maxGlobal:
			return s.bad(buf, globalTooLong(i, op))
		case next > s.lim.RecordBytes:
			return s.bad(buf, tooLarge(s.lim))
		}
		if next > len(buf) {
			break
		}
		switch op {
		case opProto:
			if err := protocolFault(i, buf[from]); err != nil {
				return s.bad(buf, err)
			}
		case opFrame:
			size := binary.LittleEndian.Uint64(buf[from:])
			switch {
			case i < s.frames:
				return s.bad(buf, frameFault(i, "a frame within a frame"))
			case size > uint64(s.lim.RecordBytes-next):
				return s.bad(buf, tooLarge(s.lim))
			}
			s.frames = next + int(size)
		}
		i = next
	}
	if len(buf) >= s.lim.RecordBytes {
		return s.bad(buf, tooLarge(s.lim))
	}
	if s.pos = i; i < len(buf) && opcodes[buf[i]].form == line {
		s.seen = len(buf)
	}
	return 0, 0, codec.ErrIncomplete
}

// End says what the sequence ends with. See [codec.Scanner].
func (s *scanner) End(buf []byte) (start, end int, err error) {
	if len(buf) == 0 {
		return 0, 0, io.EOF
	}
	return s.bad(buf, truncated(len(buf), wanted(buf, s.pos)))
}

// bad ends the sequence: after a bad pickle no other can be found. What is bad is
// what there is up to the fault, with the byte at which it is.
func (s *scanner) bad(buf []byte, err *codec.SyntaxError) (start, end int, _ error) {
	err.Final = true
	s.pos, s.seen, s.frames = 0, 0, 0
	return 0, min(err.Offset+1, len(buf)), err
}

// Resume changes nothing: see bad.
func (s *scanner) Resume() {}

// Scratch returns 0.
func (s *scanner) Scratch() int { return 0 }

// Release has nothing to give back.
func (s *scanner) Release() {}

func wanted(buf []byte, i int) string {
	if i >= len(buf) {
		return "an opcode"
	}
	return fmt.Sprintf("the rest of %s at byte %d", opcodes[buf[i]].name, i)
}
