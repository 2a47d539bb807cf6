// Package envelope has the metadata of a record as a dictionary: its position, sender and
// times.
package envelope

import (
	"strings"
	"time"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/jsontext"
	"github.com/dictwire/dictwire/store"
)

// An Envelope is the metadata of a record.
type Envelope struct {
	Position  string
	Next      string // the position after it, or ""
	Topic     string
	Principal string
	Producer  string // "" if the record has no number
	Number    uint64
	Time      time.Time // when the server accepted it
	EventTime time.Time // when the event happened; zero if unknown
}

// each calls add for each key of the envelope and its value, which is text or an integer.
func (e *Envelope) each(add func(key string, v dict.Value)) {
	add("position", dict.String(e.Position))
	if e.Next != "" {
		add("next", dict.String(e.Next))
	}
	add("topic", dict.String(e.Topic))
	if e.Principal != store.Anonymous && e.Principal != "" {
		add("principal", dict.String(strings.ToValidUTF8(e.Principal, "\uFFFD")))
	}
	if e.Producer != "" {
		add("producer", dict.String(e.Producer))
		add("number", dict.Int(int64(e.Number)))
	}
	add("time", dict.String(e.Time.UTC().Format(time.RFC3339Nano)))
	if !e.EventTime.IsZero() {
		add("event_time", dict.String(e.EventTime.UTC().Format(time.RFC3339Nano)))
	}
}

// Dict returns the envelope without the record.
func (e Envelope) Dict() *dict.Dict {
	d := new(dict.Dict)
	e.each(func(key string, v dict.Value) { d.Set(key, v) })
	return d
}

// Append appends the envelope as JSON, with the record as [json.Render] writes it.
// Destructive substitutes are named in the envelope and in r.
func (e Envelope) Append(dst []byte, record *dict.Dict, r *json.Report) []byte {
	dst = json.Render(e.open(dst), record, r)
	return append(appendLosses(dst, r), '}')
}

// AppendStored is Append for a record that is RFC 8259 JSON.
func (e Envelope) AppendStored(dst, record []byte) []byte {
	return append(json.AppendCompact(e.open(dst), record), '}')
}

// open appends the envelope as JSON up to the record.
func (e *Envelope) open(dst []byte) []byte {
	dst = append(dst, '{')
	e.each(func(key string, v dict.Value) {
		dst = append(append(append(dst, '"'), key...), `":`...)
		if text, ok := v.TextBytes(); ok {
			dst = jsontext.AppendString(dst, text)
		} else {
			dst = v.AppendInt(dst)
		}
		dst = append(dst, ',')
	})
	return append(dst, `"record":`...)
}

// appendLosses appends the names of destructive substitutes.
func appendLosses(dst []byte, r *json.Report) []byte {
	if r.Lost == 0 {
		return dst
	}
	var lost []any
	for _, l := range r.Losses {
		lost = append(lost, dict.Of("path", l.Path, "what", l.What.Name()))
	}
	said := json.Render(nil, dict.Of("losses", r.Lost, "lost", lost), nil)
	return append(append(dst, ','), said[len("{"):len(said)-len("}")]...)
}
