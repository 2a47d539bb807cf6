package wire

import (
	"fmt"
	"strings"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// A Greeting is a client's first message. It reads if Subscribe is not empty, and writes
// otherwise.
type Greeting struct {
	Version uint64
	Format  string   // "": json for a writer, as stored for a reader
	Accept  []string // formats of records or replies, in order of preference; none: Format
	Token   string
	Attempt uint64

	// For writers.
	Topic      string
	Producer   string // "": the numbers belong to the session
	Acked      uint64
	First      uint64
	AcceptLost bool

	// For readers.
	Subscribe    []string
	Subscription string // as written: part of the cursor's name
	Cursor       string
	From         string // "" means earliest
	Follow       bool
	Lossy        bool
}

// ParseGreeting reads a greeting. The error is a *[codec.SyntaxError] or a
// *[FieldError].
func ParseGreeting(line []byte) (Greeting, error) {
	d, err := json.Codec{}.Decode(line, codec.Limits{RecordBytes: MaxGreeting})
	if err != nil {
		return Greeting{}, err
	}
	r := reader{d: d}
	g := Greeting{
		Version: r.number("dictwire"), Format: r.text("format"), Accept: r.texts("accept"), Token: r.text("token"),
		Topic: r.text("topic"), Producer: r.text("producer"),
		Attempt: r.number("attempt"), Acked: r.recordNumber("acked"), First: r.recordNumber("first"), AcceptLost: r.yes("accept_lost"),
		Subscribe: r.texts("subscribe"), Cursor: r.text("cursor"), From: r.text("from"),
		Follow: r.yes("follow"), Lossy: r.yes("lossy"),
	}
	if v, ok := d.Get("subscribe"); ok && r.err == nil {
		if len(g.Subscribe) == 0 {
			r.fault("subscribe", "at least one topic")
		}
		g.Subscription = written(v)
	}
	return g, r.err
}

// written returns a subscription as it was written: a string, or a list in JSON.
func written(v dict.Value) string {
	if s, ok := v.Text(); ok {
		return s
	}
	out, err := json.Codec{}.Append(nil, dict.Of("", v))
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(out[len(`{"":`) : len(out)-1])
}

// Topics returns the topics of a subscription as it was written.
func Topics(subscription string) []string {
	if !strings.HasPrefix(subscription, "[") { // no topic does
		return []string{subscription}
	}
	d, err := json.Codec{}.Decode([]byte(`{"":`+subscription+"}"), codec.Limits{})
	if err != nil {
		return nil
	}
	r := reader{d: d}
	return r.texts("")
}

// Append appends the greeting, as a line.
func (g Greeting) Append(dst []byte) []byte {
	b := builder{dict.Of("dictwire", Version)}
	if len(g.Subscribe) > 0 {
		if len(g.Subscribe) == 1 && g.Subscription == g.Subscribe[0] {
			b.text("subscribe", g.Subscription)
		} else {
			b.d.Set("subscribe", texts(g.Subscribe))
		}
		b.text("cursor", g.Cursor)
		b.text("from", g.From)
		b.number("attempt", g.Attempt)
		b.yes("follow", g.Follow)
		b.yes("lossy", g.Lossy)
	} else {
		b.text("topic", g.Topic)
		b.text("producer", g.Producer)
		b.number("attempt", g.Attempt)
		b.number("acked", g.Acked)
		b.number("first", g.First)
		b.yes("accept_lost", g.AcceptLost)
	}
	b.text("format", g.Format)
	if len(g.Accept) > 0 {
		b.d.Set("accept", texts(g.Accept))
	}
	b.text("token", g.Token)
	return appendLine(dst, b.d)
}

func texts(list []string) dict.Value {
	items := make([]dict.Value, len(list))
	for i, s := range list {
		items[i] = dict.String(s)
	}
	return dict.List(items...)
}
