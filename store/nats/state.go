package nats

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dictwire/dictwire/store"
)

// A mark describes a message. It is the value of the header [markHeader], so that a reader
// of headers alone has it: a kind, and fields separated by spaces.
type mark struct {
	kind kind

	// Of a block, in its last part:
	parts   int    // how many messages it has
	records uint32 // how many records
	bytes   uint32 // their length
	cost    uint32 // estimated memory of the decoded block, in bytes

	// The producer's state, in its last message of an append and in a message with a state
	// alone; otherwise nil.
	state *state
}

type kind byte

const (
	kindBlock kind = 'b' // a block, or its last part
	kindPart  kind = 'p' // a part of a block before the last
	kindState kind = 's' // a producer's state without a block
)

// markHeader is the header that all messages of a store have.
const markHeader = "Dictwire"

// A state is the state of a producer, as its last message says.
type state struct {
	store.ProducerState

	claim uint64 // a random number that identifies the claim to its maker
	since uint64 // rejections before this sequence belong to an earlier producer of the name
}

var errMark = errors.New("not a message of a store of this version")

func (m mark) String() string {
	var b strings.Builder
	b.WriteByte(byte(m.kind))
	if m.kind == kindBlock {
		fmt.Fprintf(&b, " %d %d %d %d", m.parts, m.records, m.bytes, m.cost)
	}
	if s := m.state; s != nil {
		seen := int64(0)
		if !s.Seen.IsZero() {
			seen = s.Seen.UnixNano()
		}
		fmt.Fprintf(&b, " %d %d %d %d %d %d %x %d %s", s.Epoch, s.Attempt, s.Next, s.GivenUp, seen, s.Expire, s.claim, s.since,
			base64.RawURLEncoding.EncodeToString(s.Note))
	}
	return b.String()
}

// parseMark is the inverse of String. In the message with sequence seq, an epoch or a since
// of 0 means that sequence.
func parseMark(s string, seq uint64) (m mark, err error) {
	f := fields{rest: s}
	switch k := f.text(); {
	case len(k) != 1:
		return m, errMark
	default:
		m.kind = kind(k[0])
	}
	switch m.kind {
	case kindPart:
		return m, f.err
	case kindBlock:
		m.parts = int(f.number(10))
		m.records, m.bytes, m.cost = uint32(f.number(10)), uint32(f.number(10)), uint32(f.number(10))
	case kindState:
	default:
		return m, errMark
	}
	if f.rest == "" {
		return m, f.err
	}
	st := &state{}
	st.Epoch, st.Attempt, st.Next, st.GivenUp = f.number(10), f.number(10), f.number(10), f.number(10)
	if seen := int64(f.number(10)); seen != 0 {
		st.Seen = time.Unix(0, seen)
	}
	st.Expire = time.Duration(f.number(10))
	st.claim, st.since = f.number(16), f.number(10)
	if note, err := base64.RawURLEncoding.DecodeString(f.rest); err != nil {
		f.err = errMark
	} else if len(note) > 0 {
		st.Note = note
	}
	if st.Epoch == 0 {
		st.Epoch = seq
	}
	if st.since == 0 {
		st.since = seq
	}
	m.state = st
	return m, f.err
}

// fields reads the fields of a mark.
type fields struct {
	rest string
	err  error
}

func (f *fields) text() string {
	s, rest, _ := strings.Cut(f.rest, " ")
	f.rest = rest
	return s
}

func (f *fields) number(base int) uint64 {
	s := f.text()
	if strings.HasPrefix(s, "-") { // a time before 1970
		n, err := strconv.ParseInt(s, base, 64)
		if err != nil {
			f.err = errMark
		}
		return uint64(n)
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		f.err = errMark
	}
	return n
}
