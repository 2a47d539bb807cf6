package dialect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/fault"
)

// FramesHint is the hint for peers that send a length which is not served.
const FramesHint = "send struct.pack('>I', len(record)) before each record, or the records alone"

// MaxFrame is the longest frame. Longer ones would be taken for something else: the first
// byte of a 4-byte length must be zero.
const MaxFrame = 1<<24 - 1

// sniffFrame handles first bytes that may be the highest byte of a length.
func sniffFrame(b []byte, whole bool) (Protocol, error) {
	if p, err := sniffForeignName(b, whole); err != nil {
		return p, err
	}
	switch {
	case len(b) < 5 && !whole:
		return Unknown, codec.ErrIncomplete
	case len(b) < 5:
		return refuse(fmt.Sprintf("byte 0x%02x begins no dictionary in any format", b[0]), "")
	case b[2] == '{' && b[3] == '"' && binary.BigEndian.Uint16(b) >= minHeader:
		return Headed, nil
	case b[0] == 0 && b[1] == 0 && b[2] == 0 && b[3] == 0:
		return unnamed(b, whole, "a frame of length zero")
	case b[0] != 0:
		return unnamed(b, whole, fmt.Sprintf("byte 0x%02x begins no dictionary in any format", b[0]))
	}
	switch begins, undecided := beginsRecord(b[4:]); {
	case undecided && !whole:
		return Unknown, codec.ErrIncomplete
	case begins:
		return Framed, nil
	default:
		return unnamed(b, whole, fmt.Sprintf("what follows a length of 4 bytes is no dictionary: byte 0x%02x begins none in any format", b[4]))
	}
}

// minHeader is the shortest header that can state the length of its content.
const minHeader = 20

// beginsRecord reports whether b may be the first bytes of a record in any format.
func beginsRecord(b []byte) (begins, undecided bool) {
	switch c := b[0]; {
	case c == 'c': // an OrderedDict in a pickle
		return len(b) > 1 && b[1] == 'c', len(b) < 2
	case c >= 0x80 && c <= 0x8F, c >= 0xA0 && c <= 0xBF:
		return true, false
	default:
		return bytes.IndexByte([]byte(" \t\r\n\x1e\xef{[}(\xd9\xde\xdf"), c) >= 0, false
	}
}

// Widths of decimal lengths.
const (
	narrow = 10
	wide   = 64
)

// ColumnWidth returns the width of the decimal length that b begins with: 10 or 64
// columns, at least two of them blank. It returns 0 for any other text. undecided says
// that more bytes are needed.
func ColumnWidth(b []byte) (width int, undecided bool) {
	digits := len(b) - len(bytes.TrimLeft(b, "0123456789"))
	end := len(b) - len(bytes.TrimLeft(b[digits:], " "))
	switch {
	case digits == 0:
		return 0, false
	case end == len(b):
		return 0, end <= wide
	case end-digits >= 2 && (end == narrow || end == wide):
		return end, false
	default:
		return 0, false
	}
}

// mayBeZeros reports whether those of the three bytes after the first that have come are
// zero.
func mayBeZeros(b []byte) bool { return len(bytes.Trim(b[1:min(len(b), 4)], "\x00")) == 0 }

// A lengthKind is a kind of length before a record that is not served.
type lengthKind struct {
	name  string
	width int
	value func([]byte) uint64
}

var lengthKinds = []lengthKind{
	{"an 8-byte length", 8, binary.BigEndian.Uint64},
	{"an 8-byte little-endian length", 8, binary.LittleEndian.Uint64},
	{"a 4-byte little-endian length", 4, func(b []byte) uint64 { return uint64(binary.LittleEndian.Uint32(b)) }},
	{"a 2-byte length", 2, func(b []byte) uint64 { return uint64(binary.BigEndian.Uint16(b)) }},
	{"a 2-byte little-endian length", 2, func(b []byte) uint64 { return uint64(binary.LittleEndian.Uint16(b)) }},
}

// maxGuess is the largest number that is taken for a length.
const maxGuess = 1 << 20

// sniffLength refuses a length before a record, by its name. It returns no error for
// anything else.
func sniffLength(b []byte, whole bool) (Protocol, error) {
	undecided, name, least := false, "", uint64(maxGuess+1)
	for _, k := range lengthKinds {
		head := make([]byte, k.width)
		copy(head, b)
		switch n := k.value(head); { // that of a beginning is no larger
		case n >= least, n < 2 && len(b) >= k.width:
		case len(b) < k.width+2:
			undecided = undecided || len(b) <= k.width || strings.IndexByte("{}\x80", b[k.width]) >= 0
		case begins(b[k.width:]):
			name, least = k.name, n
		}
	}
	switch {
	case undecided && !whole:
		return Unknown, codec.ErrIncomplete
	case name != "":
		return refuse("this looks like "+name+" before a record, which is not served", FramesHint)
	default:
		return Unknown, nil
	}
}

// begins reports whether b certainly begins a record. Programs that send a length before
// each record send JSON or pickles.
func begins(b []byte) bool {
	switch b[0] {
	case '{':
		return strings.IndexByte("\"'} \t\r\n", b[1]) >= 0
	case 0x80:
		return b[1] >= 2 && b[1] <= 5
	default:
		return b[0] == '}' && b[1] == 'q'
	}
}

// SniffRecord recognizes the protocol of a single record, which is all of b. The error is
// an *[fault.Error].
func SniffRecord(b []byte) (Protocol, error) {
	p, err := sniff(b, true)
	var f *fault.Error
	switch {
	case errors.Is(err, codec.ErrIncomplete):
		return Unknown, &fault.Error{Code: fault.Truncated, Text: "the record ends within its first bytes"}
	case errors.As(err, &f):
		f.Text = strings.TrimSuffix(f.Text, "; "+nothingTaken)
		if f.Code == fault.Unsupported {
			f.Code = fault.NotADictionary
		}
		return Unknown, f
	case err != nil:
		return Unknown, err
	case p.Format() == "":
		return Unknown, &fault.Error{Code: fault.NotADictionary, Text: fmt.Sprintf("this is %s, not a dictionary", p)}
	}
	return p, nil
}
