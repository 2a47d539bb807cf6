package cli

import (
	"context"
	"io"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/envelope"
	jq "github.com/dictwire/dictwire/internal/filter"
)

// A rendering converts records to text, as tail prints them and passes them to commands.
type rendering struct {
	filter   *filter
	raw      bool // strings from the filter are written unquoted
	envelope bool
	timeKey  string   // where the time of the event is added; "": nowhere
	coarse   bool     // the format has microseconds only
	write    appender // nil: JSON with substitutes
	dress    *dress   // nil: for programs
	columns  *columns // nil: all keys are written

	report     json.Report // for one dictionary
	substitute int         // number of destructive substitutes
	records    int         // number of records with them
	first      string      // description of the first
}

// renderingIn returns a rendering in a format.
func (t *tail) renderingIn(format string) rendering {
	r := rendering{filter: &t.filter, raw: t.raw, envelope: t.envelope, timeKey: t.timeKey, coarse: format == "python" || format == "pickle"}
	if format != "json" || t.exact {
		f := t.formatFlags
		f.strict = true
		r.write = f.appenders()[format]
	}
	return r
}

// record appends the text of a record, which is empty if the filter does not select it.
func (r *rendering) record(ctx context.Context, dst []byte, record *dictwire.Received) (_ []byte, err error) {
	d, err := record.Dict()
	if err != nil {
		return dst, err
	}
	if err := r.addTime(d, record.EventTime); err != nil {
		return dst, err
	}
	out, lost := dst, r.substitute
	for v, err := range r.filter.run(ctx, d) {
		if err != nil {
			return dst, err
		}
		from := len(out)
		if out, err = r.value(out, v, record); err != nil {
			return dst, err
		}
		if r.dress != nil {
			out = r.dress.dress(out, from, record.Topic, record.Time)
		}
	}
	if r.substitute > lost {
		r.records++
	}
	return out, nil
}

// addTime adds the time of a record's event to it, if that is wanted and known, and the
// key is free.
func (r *rendering) addTime(d *dict.Dict, event time.Time) error {
	if _, has := d.Get(r.timeKey); r.timeKey == "" || has || event.IsZero() {
		return nil
	}
	if r.coarse {
		event = event.Truncate(time.Microsecond)
	}
	v, err := dict.ValueOf(event)
	if err != nil {
		return err
	}
	d.Set(r.timeKey, v)
	return nil
}

// value appends a line for a result of the filter.
func (r *rendering) value(dst []byte, v any, record *dictwire.Received) ([]byte, error) {
	d, isDict := v.(*dict.Dict)
	text, isText := v.(string)
	switch {
	case isDict && r.columns != nil:
		return r.columns.append(dst, d, record), nil
	case isDict && r.write != nil && r.envelope:
		e := envelopeOf(record).Dict()
		e.Set("record", d.Value())
		return r.write(dst, e)
	case isDict && r.write != nil:
		return r.write(dst, d)
	case isDict:
		return r.json(dst, d, record), nil
	case isText && r.raw:
		return append(append(dst, text...), '\n'), nil
	default:
		made, err := jq.Marshal(v)
		return append(append(dst, made...), '\n'), err
	}
}

// json appends a line of JSON with substitutes. Destructive ones are named in the
// envelope.
func (r *rendering) json(dst []byte, d *dict.Dict, record *dictwire.Received) []byte {
	r.report.Reset()
	if r.envelope {
		dst = envelopeOf(record).Append(dst, d, &r.report)
	} else {
		dst = json.Render(dst, d, &r.report)
	}
	if lost := r.report.Lost; lost > 0 {
		if r.substitute == 0 {
			r.first = record.Position() + " in " + record.Topic + ": " + r.report.Losses[0].String()
		}
		r.substitute += lost
	}
	return append(dst, '\n')
}

// forget resets the counts.
func (r *rendering) forget() { r.substitute, r.records, r.first = 0, 0, "" }

// summary prints a line about destructive substitutes.
func (r *rendering) summary(w io.Writer) {
	if r.substitute > 0 {
		say(w, "%s in %s: JSON lacks what was there (first %s); --envelope names them, --exact ends there",
			count(int64(r.substitute), "value was replaced", "values were replaced"), count(int64(r.records), "record", "records"), r.first)
	}
}

// envelopeOf returns the metadata of a record.
func envelopeOf(r *dictwire.Received) envelope.Envelope {
	return envelope.Envelope{
		Position: r.Position(), Topic: r.Topic, Principal: r.Principal,
		Producer: r.Producer, Number: r.Number, Time: r.Time, EventTime: r.EventTime,
	}
}
