package json

import (
	"io"
	"unsafe"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/line"
	"github.com/dictwire/dictwire/codec/internal/scratch"
	"github.com/dictwire/dictwire/codec/internal/shape"
	"github.com/dictwire/dictwire/fault"
)

// keepScratch is the memory in bytes that is always kept from record to record.
const keepScratch = 8 << 10

// A scanner finds the dictionaries of a JSON sequence.
type scanner struct {
	p        parser
	resumes  bool  // see codec.Scanner's Resume
	within   bool  // a record has begun
	array    place // in an array of dictionaries
	extended bool  // see Extended
	search   line.Search
	patience scratch.Patience
}

// A place is the state of a scanner in an array whose items are records.
type place uint8

const (
	outside place = iota
	beforeItem
	afterItem
)

const (
	nul = 0x00
	rs  = 0x1E
	bom = "\xEF\xBB\xBF"

	separators = "\x00\x1E"
)

// maxSpace is the most white space, in bytes, between an array's bracket and its first item
// if its items are to be records.
const maxSpace = 4 << 10

// NewScanner returns a scanner for one JSON sequence. See the package comment.
func (c Codec) NewScanner(lim codec.Limits) codec.Scanner {
	s := new(scanner)
	s.p.lim, s.p.keepLast = lim.Effective(), c.DuplicateKeys == KeepLast
	s.search = line.Search{Quotes: `"`, Separators: separators}
	return s
}

// Resume makes the sequence a bare one. See [codec.Scanner].
func (s *scanner) Resume() { s.resumes = true }

func (s *scanner) Scratch() int { return s.p.scratch() }

// Next finds the next dictionary. See [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	if !s.within {
		if start, end, err = s.between(buf); err != nil {
			return start, end, err
		}
		s.p.reset()
		n := s.p.repeat(buf[start:])
		if n == 0 {
			if n = s.p.begin(buf[start:]); n > 0 {
				s.p.learn(buf[start : start+n])
			}
		}
		if n > 0 {
			s.ended(n)
			return start, start + n, nil
		}
		s.within = true
	}
	record := buf[start:]
	switch n := s.read(record); n {
	case incomplete:
		return start, start, codec.ErrIncomplete
	case failed:
		err, end = s.bad(record)
		return start, start + end, err
	default:
		s.within = false
		s.p.learn(record[:n])
		s.ended(n)
		return start, start + n, nil
	}
}

// End says what the sequence ends with. See [codec.Scanner].
func (s *scanner) End(buf []byte) (start, end int, err error) {
	switch {
	case s.within:
	case len(buf) > 0: // of a byte order mark, or of an array
		s.p.reset()
		s.within = true
	case s.array != outside && !s.search.Skipping():
		s.p.reset()
		s.p.fail(nil, fault.Truncated, 0, "want the end of the array, got the end")
		s.p.err.Final = true
		s.array = outside
		return 0, 0, s.p.err
	default:
		return 0, 0, io.EOF
	}
	if s.read(buf) == incomplete {
		s.p.truncated(buf)
	}
	err, end = s.bad(buf)
	return 0, end, err
}

// read continues in the record with the given bytes.
func (s *scanner) read(record []byte) int {
	if s.resumes && (s.array != outside || record[0] == '[') && record[0] != '{' {
		return s.p.other(record)
	}
	return s.p.run(record)
}

// ended takes note that a good record of n bytes has ended.
func (s *scanner) ended(n int) {
	if s.array != outside {
		s.array = afterItem
	}
	if s.p.extended() {
		s.extended = true
	}
	if s.patience.Ends(n) {
		s.shrink()
	}
}

// between returns where the next record begins in buf, or, with an error, what Next
// does where none begins.
func (s *scanner) between(buf []byte) (start, end int, err error) {
	i, end, err := s.search.Skip(buf, name)
	if err != nil {
		return i, end, err
	}
	for i < len(buf) {
		switch c := buf[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case c == '{' && s.array != afterItem:
			return i, i, nil
		case s.array != outside:
			var done bool
			if i, end, done, err = s.inArray(buf, i); done {
				return i, end, err
			}
		case c == nul || c == rs:
			s.search.Separated = true
			i++
		case c == bom[0]:
			got := buf[i:min(i+len(bom), len(buf))]
			if len(got) < len(bom) && string(got) == bom[:len(got)] {
				return i, i, codec.ErrIncomplete
			}
			if string(got) != bom {
				return i, i, nil
			}
			i += len(bom)
		case c == '[' && s.resumes:
			first := i + 1
			for first < len(buf) && isSpace(buf[first]) {
				first++
			}
			switch {
			case first-i > maxSpace:
				return i, i, nil
			case first == len(buf):
				return i, i, codec.ErrIncomplete
			case buf[first] != '{':
				return i, i, nil
			}
			s.array = beforeItem
			i = first
		default:
			return i, i, nil
		}
	}
	return i, i, codec.ErrIncomplete
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// inArray reads the bytes at i between the items of an array. done says that the result is
// that of between; otherwise the scan continues at start.
func (s *scanner) inArray(buf []byte, i int) (start, end int, done bool, err error) {
	c := buf[i]
	switch {
	case s.array == afterItem && c == ',':
		s.array = beforeItem
		return i + 1, 0, false, nil
	case s.array == afterItem && c == ']':
		s.array = outside
		return i + 1, 0, false, nil
	case s.array == beforeItem && c != ']':
		return i, i, true, nil
	}
	s.p.reset()
	rest := buf[i:]
	if s.array == afterItem {
		s.p.unexpected(rest, atStart, 0, "',' or ']' after an item of the array")
		err, end = s.bad(rest)
		return i, i + end, true, err
	}
	s.p.unexpected(rest, atStart, 0, "an item of the array after ','")
	s.p.err.Hint = "JSON has no trailing comma"
	s.array = outside
	return i, i + 1, true, s.p.err
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
	if n := s.p.whole; n > 0 {
		s.ended(n)
		return err, n
	}
	inner := s.array != outside
	s.array = outside
	text := -1
	if s.p.state == inString || s.p.state == inKey {
		text = s.p.tok
	}
	return err, s.search.Bad(err, buf, text, inner)
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

func (p *parser) free() { p.frames, p.keys, p.shapes = nil, keyset.Set{}, shape.Shapes{} }

func (p *parser) scratch() int {
	return int(unsafe.Sizeof(frame{}))*cap(p.frames) + p.keys.Scratch() + p.shapes.Scratch()
}
