// Package line finds the record after a bad one in sequences of text formats. The beginning of
// the next record is certain after a separator, which records can't contain, and after a line
// feed if the bad record ended with its line. Otherwise the sequence ends: the next line could
// be part of the bad record.
package line

import (
	"bytes"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
)

// EndsHere is the hint of errors that end a sequence.
const EndsHere = "the sequence ends here, since where the next record begins is not certain"

// Ends makes err Final.
func Ends(err *codec.SyntaxError) {
	err.Final = true
	if err.Hint == "" && err.Code != fault.Truncated {
		err.Hint = EndsHere
	}
}

// Late returns the error of a bad record, found before, that is only now known to end the
// sequence, because of what was found at an offset of the latest bytes.
func Late(format string, offset int, got string) *codec.SyntaxError {
	return &codec.SyntaxError{
		Codec: format, Code: fault.Malformed, Offset: offset, Msg: late + got, Hint: EndsHere, Final: true,
	}
}

const late = "want the end of the bad record, got "

// IsLate reports whether Late made err.
func IsLate(err *codec.SyntaxError) bool { return strings.HasPrefix(err.Msg, late) }

// An Outcome is the state of a search.
type Outcome uint8

// The outcomes of a search.
const (
	More  Outcome = iota // the next record does not begin in the bytes so far
	Found                // the beginning is certain
	None                 // the beginning can't be known
)

// A Search looks for the beginning of the record after a bad one.
type Search struct {
	Quotes     string // characters that begin and end strings
	Separators string // characters that no record contains
	Separated  bool   // the sequence has had a separator

	line     line
	passed   bool // the record goes beyond its line, so that only a separator is certain
	skipping bool // the beginning of the next record is not found yet
}

// Bad begins a search after a bad record, of which record has the bytes so far. It returns the
// end of the bad record as far as it is known. text is the beginning of the string that
// contains the fault, or negative. inner says that the record is part of a larger value.
func (s *Search) Bad(err *codec.SyntaxError, record []byte, text int, inner bool) (end int) {
	var o Outcome
	if at := err.Offset; text >= 0 && !inner && at < len(record) && record[at] == '\n' && bytes.IndexByte(record[:at], '\n') < 0 {
		end, o = s.Cut(record, at, text)
	} else {
		end, o = s.Begin(record, at, inner)
	}
	s.skipping = o == More
	if o == None {
		Ends(err)
	}
	return end
}

// Skipping reports whether the beginning of the next record is not found yet.
func (s *Search) Skipping() bool { return s.skipping }

// Skip continues the search, if there is one, in the next bytes. Without an error, the next
// record begins at start or later. With an error, the results are those for a scanner's Next.
func (s *Search) Skip(buf []byte, format string) (start, end int, err error) {
	if !s.skipping {
		return 0, 0, nil
	}
	n, o := s.On(buf)
	switch s.skipping = o == More; o {
	case More:
		return n, n, codec.ErrIncomplete
	case None:
		return 0, n, Late(format, 0, "a line feed within it")
	default:
		return n, n, nil
	}
}

// Begin begins a search after a bad record, of which record has the bytes so far and fault is the
// offset of its fault. inner says that the record is part of a larger value. Begin returns
// the offset of the next record, or the number of bytes that it has searched.
func (s *Search) Begin(record []byte, fault int, inner bool) (n int, o Outcome) {
	fault = min(fault, len(record))
	if fault < len(record) && s.separator(record[fault]) {
		return max(fault, 1), Found
	}
	s.passed = inner || bytes.IndexByte(record[:fault], '\n') >= 0
	if s.passed {
		n, o = s.On(record[fault:])
		return fault + n, o
	}
	s.line = line{braces: record[0] == '{'}
	return s.On(record)
}

// Cut is Begin for a fault that is a line feed in the string that begins at text. Strings can't
// contain line feeds, so the record was cut off there, and ends. But if the string contains a
// brace, it may be a JSON text that was inserted without escapes, and the next lines may be
// part of the record.
func (s *Search) Cut(record []byte, fault, text int) (n int, o Outcome) {
	if s.passed = bytes.IndexByte(record[text:fault], '{') >= 0; s.passed {
		return s.On(record[fault:])
	}
	return fault + 1, Found
}

// On continues a search in the next bytes, with the results of Begin.
func (s *Search) On(b []byte) (n int, o Outcome) {
	if !s.passed {
		n = s.line.follow(b, s)
		switch {
		case n < 0:
			return len(b), More
		case b[n] != '\n':
			return n, Found
		case s.line.ended():
			return n + 1, Found
		}
		s.passed = true
	}
	if !s.Separated {
		return len(b), None
	}
	if i := bytes.IndexAny(b[n:], s.Separators); i >= 0 {
		return n + i, Found
	}
	return len(b), More
}

func (s *Search) separator(c byte) bool { return strings.IndexByte(s.Separators, c) >= 0 }

// A line follows a bad record to the end of its line. The record has ended there if
// none of its brackets is left open, counted either without those in strings or with
// them: where the fault is a quote too many or too few, one of the two is wrong.
type line struct {
	braces     bool // the record is a dictionary: what its closing brace leaves open ends with it
	lexed, raw int  // how many brackets are open, without those in strings, and with them
	quote      byte // of the current string, or 0
	escaped    bool // the byte before was a backslash in a string
}

// follow continues with b up to a line feed or a separator. It returns the offset of that,
// or -1 if b has none.
func (l *line) follow(b []byte, s *Search) int {
	for i, c := range b {
		if c < ' ' && (c == '\n' || s.separator(c)) {
			return i
		}
		n := l.bracket(c)
		l.raw = max(l.raw+n, 0)
		switch {
		case l.escaped:
			l.escaped = false
		case l.quote != 0 && c == '\\':
			l.escaped = true
		case l.quote != 0:
			if c == l.quote {
				l.quote = 0
			}
		case n != 0:
			l.lexed = max(l.lexed+n, 0)
		case strings.IndexByte(s.Quotes, c) >= 0:
			l.quote = c
		}
	}
	return -1
}

// bracket returns 1 for an opening bracket, -1 for a closing one, otherwise 0.
func (l *line) bracket(c byte) int {
	switch c {
	case '{':
		return 1
	case '}':
		return -1
	case '[', '(':
		if !l.braces {
			return 1
		}
	case ']', ')':
		if !l.braces {
			return -1
		}
	}
	return 0
}

func (l *line) ended() bool { return l.lexed == 0 && l.quote == 0 || l.raw == 0 }
