package forward

import (
	"errors"
	"fmt"
	"io"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/store"
)

// entries is the format of what a message holds: MessagePack records, each in an array
// after its time.
type entries struct {
	codec.Codec // MessagePack
	scanner     *scanner
}

// newEntries returns the format of one sequence.
func newEntries(cd codec.Codec, limits codec.Limits) *entries {
	return &entries{cd, &scanner{cd: cd, limits: limits.Effective()}}
}

// NewScanner returns the scanner of the sequence.
func (e *entries) NewScanner(codec.Limits) codec.Scanner { return e.scanner }

// A scanner finds the records of entries, and notes their times.
type scanner struct {
	cd     codec.Codec
	limits codec.Limits
	record codec.Scanner // nil until it is needed
	times  []int64       // of the records found since takeTimes
	walker walker        // of the current entry, if it did not end in the buffer
	walks  bool
	skips  bool // the current entry was refused
}

// maxAround is the most bytes of an entry in addition to its record.
const maxAround = 4 << 10

// Next implements [codec.Scanner].
func (s *scanner) Next(buf []byte) (start, end int, err error) {
	if len(buf) == 0 {
		return 0, 0, codec.ErrIncomplete
	}
	if !s.walks {
		if start, end, ok := s.fast(buf); ok {
			return start, end, nil
		}
		s.walker, s.walks = newWalker(), true
	}
	whole, err := s.walker.walk(buf)
	switch {
	case err != nil:
		s.walks, s.skips = false, false
		return 0, len(buf), s.bad(&codec.SyntaxError{
			Codec: s.cd.Name(), Code: fault.Malformed, Offset: min(s.walker.at, len(buf)), Final: true,
			Msg: err.Error() + "; the entries end here, since where the next one begins is not certain",
		})
	case !whole && s.skips:
		s.walker.at -= len(buf)
		return len(buf), len(buf), codec.ErrIncomplete
	case !whole && len(buf) > s.limits.RecordBytes+maxAround:
		s.skips = true
		s.walker.at -= len(buf)
		return 0, len(buf), s.tooLarge()
	case !whole:
		return 0, 0, codec.ErrIncomplete
	}
	end = s.walker.at
	s.walks = false
	if s.skips {
		s.skips = false
		if end == len(buf) {
			return end, end, codec.ErrIncomplete
		}
		start, stop, err := s.Next(buf[end:])
		return end + start, end + stop, err
	}
	start, time, err := s.entry(buf[:end])
	if err != nil {
		return 0, end, s.bad(err)
	}
	s.times = append(s.times, time)
	// Nothing follows the record, since the array has two items.
	return start, end, nil
}

// fast finds the record of an entry in today's form: an array of a time and a record.
func (s *scanner) fast(buf []byte) (start, end int, ok bool) {
	if len(buf) < 12 || buf[0] != 0x92 {
		return 0, 0, false
	}
	switch {
	case buf[1] == 0xce:
		start = 6
	case buf[1] == 0xd7 && buf[2] == 0:
		start = 11
	default:
		return 0, 0, false
	}
	time, err := eventTime(buf[1:start])
	if err != nil || !isMap(buf[start]) {
		return 0, 0, false
	}
	if s.record == nil {
		s.record = s.cd.NewScanner(s.limits)
	}
	from, end, err := s.record.Next(buf[start:])
	if err != nil || from != 0 { // it may be in the middle of the record
		s.record = nil
		return 0, 0, false
	}
	s.times = append(s.times, time)
	return start, start + end, true
}

// entry finds the record in a whole entry.
func (s *scanner) entry(entry []byte) (start int, time int64, err error) {
	c := &cutter{rest: entry}
	malformed := func(err error) error {
		return &codec.SyntaxError{Codec: s.cd.Name(), Code: fault.Malformed, Msg: fmt.Sprintf("an entry: %v", err)}
	}
	if n := c.enter(isArray, "an array of a time and a record"); c.err == nil && n != 2 {
		c.fail("an array of a time and a record")
	}
	at := c.item()
	if c.err != nil {
		return 0, 0, malformed(c.err)
	}
	if time, err = eventTime(at); err != nil {
		return 0, 0, malformed(err)
	}
	return len(entry) - len(c.rest), time, s.check(c.rest)
}

// check returns an error if a record is not a dictionary.
func (s *scanner) check(record []byte) error {
	if s.record == nil {
		s.record = s.cd.NewScanner(s.limits)
	}
	_, end, err := s.record.Next(record)
	var bad *codec.SyntaxError
	switch {
	case err == nil && end == len(record):
		return nil
	case errors.As(err, &bad):
		passed := *bad
		passed.Final = false
		err = &passed
	default:
		err = &codec.SyntaxError{Codec: s.cd.Name(), Code: fault.Malformed, Msg: "want a record, and nothing after it"}
	}
	s.record = nil // it may be in the middle of the record
	return err
}

// bad notes the time of an unreadable record.
func (s *scanner) bad(err error) error {
	s.times = append(s.times, store.UnknownTime)
	return err
}

func (s *scanner) tooLarge() error {
	return s.bad(&codec.SyntaxError{
		Codec: s.cd.Name(), Code: fault.TooLarge, Offset: s.limits.RecordBytes,
		Msg: fmt.Sprintf("a record of more than %d bytes", s.limits.RecordBytes), Hint: "split it, or raise Limits.RecordBytes",
	})
}

// takeTimes returns the times of the records found since the last call. The result is
// valid until the next call of Next.
func (s *scanner) takeTimes() []int64 {
	times := s.times
	s.times = s.times[:0]
	return times
}

// End implements [codec.Scanner].
func (s *scanner) End(buf []byte) (start, end int, err error) {
	if len(buf) == 0 || s.skips {
		return len(buf), len(buf), io.EOF
	}
	return 0, len(buf), s.bad(&codec.SyntaxError{
		Codec: s.cd.Name(), Code: fault.Truncated, Offset: len(buf), Msg: "the entries end within one",
	})
}

// Resume does nothing: every item is self-delimiting.
func (*scanner) Resume() {}

// Scratch implements [codec.Scanner].
func (s *scanner) Scratch() int {
	n := 8 * cap(s.times)
	if s.record != nil {
		n += s.record.Scratch()
	}
	return n
}

// Release implements [codec.Scanner].
func (s *scanner) Release() {
	if s.record != nil {
		s.record.Release()
	}
}
