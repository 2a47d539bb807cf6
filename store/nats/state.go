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

// A mark says what a message is. It is the value of the header [markHeader], so that
// whoever gets headers alone knows it: a kind, and fields with spaces between them.
type mark struct {
	kind kind

	// Of a block, in its last part:
	parts   int    // how many messages it takes
	records uint32 // how many there are
	bytes   uint32 // how long they are together
	cost    uint32 // bytes of memory that the block takes when it is decoded, about

	// Of the last message of a producer in an append, and of a state: where the
	// producer stands. Nil where the message does not tell.
	state *state
}

type kind byte

const (
	kindBlock kind = 'b' // a block, or its last part
	kindPart  kind = 'p' // a part of a block before its last
	kindState kind = 's' // the state of a producer alone
)

// markHeader is the header of all messages of a store.
const markHeader = "Dictwire"

// A state is where a producer stands: what its last message says.
type state struct {
	store.ProducerState

	claim uint64 // a random number of the claim, by which the one who made it knows it
	since uint64 // rejections before this sequence are not the producer's
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

// parseMark is the inverse of String, for the message with a sequence: an epoch or a
// beginning of rejections that is 0 is the message's own.
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
