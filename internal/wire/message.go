package wire

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// A Message is a message of the server: one of the types below.
type Message interface {
	// Append appends the message, as a line.
	Append(dst []byte) []byte
}

// A Welcome answers a writer's greeting.
type Welcome struct {
	Next       uint64 // the number that the server wants
	Sum        string // CRC-32C of record Next−1 in hexadecimal, or "" if unknown
	Of         uint64 // how many of the record's first bytes Sum covers; 0: all
	Durability string
	MaxRecord  uint64
	Window     uint64
	Forgets    time.Duration // how long the producer is remembered after its last session
	Features   []string
}

// A Ready answers a reader's greeting.
type Ready struct {
	Next string // the position where reading begins
}

// An Ack says that all records up to a number are settled.
type Ack struct{ Number uint64 }

// A Rejected says that a record was rejected.
type Rejected struct {
	Number uint64
	Code   fault.Code
	Reason string // a word of the application, or ""
	Text   string
}

// A Reply is a handler's reply to a record. Length bytes in its format follow the line.
// If the reply can't be sent, Code and Text say why.
type Reply struct {
	Number uint64
	Length uint64
	Format string // "" means the session's
	Code   fault.Code
	Text   string
}

// A Batch is consecutive records of one block. The records follow the line; Lengths are
// their lengths in bytes.
type Batch struct {
	At, Next string
	Topic    string

	Principal string // of the records; "" means anonymous
	Producer  string // "" if the records are not numbered
	First     uint64 // the number of the first record, or 0
	Time      time.Time
	Times     []int64 // of the events, as in store.Block; nil: unknown
	Format    string
	Lengths   []uint32
}

// A Progress says that everything before a position has been delivered.
type Progress struct{ Next string }

// A Committed says that a cursor's position has been saved durably.
type Committed struct{ Position string }

// A Skipped says that records were trimmed before they were read.
type Skipped struct {
	From, To, Topic string
	Next            string
}

// A Damaged says that records have become unreadable.
type Damaged struct {
	From, To, Topic, Text string
	Next                  string
}

// An End ends the session of a reader that does not follow.
type End struct{ Position string }

// An Error ends a session.
type Error struct{ Fault *fault.Error }

// Append appends the message, as a line.
func (m Welcome) Append(dst []byte) []byte {
	b := builder{dict.Of("dictwire", Version, "next", m.Next)}
	b.text("sum", m.Sum)
	b.number("of", m.Of)
	b.text("durability", m.Durability)
	b.number("max_record", m.MaxRecord)
	b.number("window", m.Window)
	b.number("forgets_s", uint64(m.Forgets/time.Second))
	b.d.Set("features", texts(m.Features))
	return appendLine(dst, b.d)
}

// Append appends the message, as a line.
func (m Ready) Append(dst []byte) []byte {
	return appendLine(dst, dict.Of("dictwire", Version, "next", m.Next))
}

// Append appends the message, as a line.
func (m Ack) Append(dst []byte) []byte {
	dst = append(dst, `{"ack":`...)
	dst = strconv.AppendUint(dst, m.Number, 10)
	return append(dst, "}\n"...)
}

// Append appends the message, as a line.
func (m Rejected) Append(dst []byte) []byte {
	b := builder{dict.Of("rejected", m.Number, "code", string(m.Code))}
	b.text("reason", m.Reason)
	b.d.Set("error", dict.String(m.Text))
	return appendLine(dst, b.d)
}

// Append appends the message, as a line.
func (m Reply) Append(dst []byte) []byte {
	b := builder{dict.Of("reply", m.Number, "length", m.Length)}
	b.text("format", m.Format)
	b.text("code", string(m.Code))
	b.text("error", m.Text)
	return appendLine(dst, b.d)
}

// Append appends the message, as a line.
func (m Batch) Append(dst []byte) []byte {
	b := builder{dict.Of("at", m.At, "next", m.Next, "topic", m.Topic)}
	b.text("principal", m.Principal)
	b.text("producer", m.Producer)
	b.number("first", m.First)
	b.text("time", m.Time.UTC().Format(time.RFC3339Nano))
	b.text("format", m.Format)
	b.times("times", m.Times)
	line := appendLine(dst, b.d)
	line = append(line[:len(line)-len("}\n")], `,"lengths":[`...)
	from, to := 0, 0 // the number before: often the same
	for i, n := range m.Lengths {
		if i > 0 {
			line = append(line, ',')
		}
		if i > 0 && n == m.Lengths[i-1] {
			line = append(line, line[from:to]...)
			continue
		}
		from = len(line)
		line = strconv.AppendUint(line, uint64(n), 10)
		to = len(line)
	}
	return append(line, "]}\n"...)
}

// Append appends the message, as a line.
func (m Progress) Append(dst []byte) []byte { return appendLine(dst, dict.Of("next", m.Next)) }

// Append appends the message, as a line.
func (m Committed) Append(dst []byte) []byte {
	return appendLine(dst, dict.Of("committed", m.Position))
}

// Append appends the message, as a line.
func (m Skipped) Append(dst []byte) []byte {
	b := builder{dict.Of("from", m.From, "to", m.To)}
	b.text("topic", m.Topic)
	return appendLine(dst, dict.Of("skipped", b.d, "next", m.Next))
}

// Append appends the message, as a line.
func (m Damaged) Append(dst []byte) []byte {
	b := builder{dict.Of("from", m.From, "to", m.To)}
	b.text("topic", m.Topic)
	b.text("error", m.Text)
	return appendLine(dst, dict.Of("damaged", b.d, "next", m.Next))
}

// Append appends the message, as a line.
func (m End) Append(dst []byte) []byte { return appendLine(dst, dict.Of("end", m.Position)) }

// Append appends the message, as a line.
func (m Error) Append(dst []byte) []byte { return appendLine(dst, m.Fault.Dict()) }

// ParseMessage parses a message of the server. The error is a *[codec.SyntaxError], a
// *[FieldError], or says that the message is unknown.
func ParseMessage(line []byte) (Message, error) {
	if n, ok := parseAck(line); ok {
		return Ack{n}, nil
	}
	header, lengths, isBatch := cutLengths(line)
	d, err := json.Codec{}.Decode(header, limits)
	if isBatch && err != nil {
		isBatch = false
		d, err = json.Codec{}.Decode(line, limits)
	}
	if err != nil {
		return nil, err
	}
	r := &reader{d: d}
	m := r.message(isBatch)
	if b, ok := m.(Batch); ok && isBatch {
		b.Lengths = lengths
		m = b
	}
	if r.err != nil {
		return nil, r.err
	}
	if m == nil {
		return nil, fmt.Errorf("a message that is not known: %.200s", line)
	}
	return m, nil
}

// parseAck parses an ack, the most frequent message, without building a dictionary.
func parseAck(line []byte) (uint64, bool) {
	const before, behind = `{"ack":`, '}'
	if len(line) < len(before)+2 || string(line[:len(before)]) != before || line[len(line)-1] != behind {
		return 0, false
	}
	n, err := strconv.ParseUint(string(line[len(before):len(line)-1]), 10, 63)
	return n, err == nil
}

// cutLengths cuts the lengths out of a batch if they are its last field, as our servers
// write them. There may be thousands of them.
func cutLengths(line []byte) (header []byte, lengths []uint32, ok bool) {
	const key, behind = `,"lengths":[`, "]}"
	list, ok := bytes.CutSuffix(line, []byte(behind))
	at := bytes.LastIndex(list, []byte(key))
	if !ok || at < 0 || !bytes.HasPrefix(line, []byte(`{"at":`)) {
		return line, nil, false
	}
	list = list[at+len(key):]
	lengths = make([]uint32, 0, len(list)/2+1)
	n := uint64(0)
	for i, c := range list {
		switch {
		case c >= '0' && c <= '9' && (c > '0' || n > 0): // no leading zero
			n = 10*n + uint64(c-'0')
		case c == ',' && n > 0 && i+1 < len(list):
			lengths = append(lengths, uint32(n))
			n = 0
		default:
			return line, nil, false
		}
		if n > math.MaxUint32 {
			return line, nil, false
		}
	}
	if n == 0 {
		return line, nil, false
	}
	header = append(line[:at:at], '}')
	return header, append(lengths, uint32(n)), true
}

func (r *reader) message(lengthsCut bool) Message {
	switch {
	case r.has("error") && r.has("code") && !r.has("rejected") && !r.has("reply"):
		f := &fault.Error{
			Code: fault.Code(r.text("code")), Text: r.text("error"), At: -1,
			Next: r.number("next"), Retry: time.Duration(r.number("retry_ms")) * time.Millisecond,
		}
		if r.has("at") {
			f.At = int64(r.number("at"))
		}
		return Error{f}
	case r.has("dictwire"):
		if v, _ := r.d.Get("next"); v.Kind() == dict.KindString {
			return Ready{Next: r.text("next")}
		}
		return Welcome{
			Next: r.number("next"), Sum: r.text("sum"), Of: r.number("of"), Durability: r.text("durability"),
			MaxRecord: r.number("max_record"), Window: r.number("window"),
			Forgets: time.Duration(r.number("forgets_s")) * time.Second, Features: r.texts("features"),
		}
	case r.has("ack"):
		return Ack{r.number("ack")}
	case r.has("rejected"):
		return Rejected{
			Number: r.number("rejected"), Code: fault.Code(r.text("code")), Reason: r.text("reason"), Text: r.text("error"),
		}
	case r.has("reply"):
		return Reply{
			Number: r.number("reply"), Length: r.number("length"), Format: r.text("format"),
			Code: fault.Code(r.text("code")), Text: r.text("error"),
		}
	case r.has("at"):
		m := Batch{
			At: r.text("at"), Next: r.text("next"), Topic: r.text("topic"),
			Principal: r.text("principal"), Producer: r.text("producer"), First: r.number("first"), Time: r.time("time"),
			Times: r.times("times"), Format: r.text("format"),
		}
		if !lengthsCut {
			m.Lengths = r.lengths("lengths")
		}
		return m
	case r.has("committed"):
		return Committed{r.text("committed")}
	case r.has("skipped"):
		in := &reader{d: r.dict("skipped"), err: r.err}
		m := Skipped{From: in.text("from"), To: in.text("to"), Topic: in.text("topic"), Next: r.text("next")}
		r.err = in.err
		return m
	case r.has("damaged"):
		in := &reader{d: r.dict("damaged"), err: r.err}
		m := Damaged{From: in.text("from"), To: in.text("to"), Topic: in.text("topic"), Text: in.text("error"), Next: r.text("next")}
		r.err = in.err
		return m
	case r.has("end"):
		return End{r.text("end")}
	case r.has("next"):
		return Progress{r.text("next")}
	default:
		return nil
	}
}

// ParseCommit parses a reader's message, and returns the position that it commits.
func ParseCommit(line []byte) (string, error) {
	d, err := json.Codec{}.Decode(line, codec.Limits{RecordBytes: MaxGreeting})
	if err != nil {
		return "", err
	}
	r := reader{d: d}
	if !r.has("commit") {
		return "", fmt.Errorf("a message that is not known: %.200s", line)
	}
	return r.text("commit"), r.err
}

// AppendCommit appends the message that commits a position, as a line.
func AppendCommit(dst []byte, position string) []byte {
	return appendLine(dst, dict.Of("commit", position))
}
