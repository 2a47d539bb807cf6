// Package envelope has the metadata of a record as a dictionary: its position, sender and
// times.
package envelope

import (
	"time"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
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

// Dict returns the envelope without the record.
func (e Envelope) Dict() *dict.Dict {
	d := dict.Of("position", e.Position)
	if e.Next != "" {
		d.Set("next", dict.String(e.Next))
	}
	d.Set("topic", dict.String(e.Topic))
	if e.Principal != store.Anonymous && e.Principal != "" {
		d.Set("principal", dict.String(e.Principal))
	}
	if e.Producer != "" {
		d.Set("producer", dict.String(e.Producer))
		d.Set("number", dict.Int(int64(e.Number)))
	}
	d.Set("time", dict.String(e.Time.UTC().Format(time.RFC3339Nano)))
	if !e.EventTime.IsZero() {
		d.Set("event_time", dict.String(e.EventTime.UTC().Format(time.RFC3339Nano)))
	}
	return d
}

// Append appends the envelope as JSON, with the record as [json.Render] writes it.
// Destructive substitutes are named in the envelope and in r.
func (e Envelope) Append(dst []byte, record *dict.Dict, r *json.Report) []byte {
	dst = json.Render(dst, e.Dict(), nil)
	dst = append(dst[:len(dst)-len("}")], `,"record":`...)
	dst = json.Render(dst, record, r)
	return append(appendLosses(dst, r), '}')
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
