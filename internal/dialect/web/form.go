package web

import (
	"fmt"
	"net/http"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/envelope"
	"github.com/dictwire/dictwire/store"
)

// An item is a record in an answer.
type item struct {
	envelope.Envelope // if the query asks for it

	at, next store.Position // its position, and the one after it

	stored []byte     // the record, if it is RFC 8259 JSON and the answer is, too; otherwise nil
	record *dict.Dict // nil: the filter returned value, or failed
	value  dict.Value
	failed string // why the filter failed
}

// A form is a format of answers.
type form struct {
	mediaType string
	json      bool                 // records are JSON, and may be item.stored
	begin     func(q query) []byte // or nil
	end       string
	first     func(q query) []byte // before the first record or fault; or nil
	next      string               // before each later one

	item     func(dst []byte, it item, q query) ([]byte, error)
	progress func(next string) string
	fault    func(f *fault.Error) []byte // stands in for a record; the answer ends there, incomplete
}

// before appends the separator for the next record or fault, of which given have been sent.
func (f *form) before(dst []byte, q query, given int) []byte {
	switch {
	case given > 0:
		return append(dst, f.next...)
	case f.first != nil:
		return append(dst, f.first(q)...)
	}
	return dst
}

// forms maps names to forms.
var forms = map[string]*form{
	"ndjson": {mediaType: ndjson, json: true, item: line, progress: nothing, fault: lineOf},
	"json":   {mediaType: "application/json", json: true, begin: bracket, first: lineBreak, next: ",\n", end: "\n]\n", item: text, progress: nothing, fault: lineOf},
	"python": {mediaType: "text/x-python; charset=utf-8", item: literal, progress: nothing, fault: lineOf},
	"cbor":   {mediaType: "application/cbor-seq", item: exact, progress: nothing, fault: exactOf}, // RFC 8742
	"csv":    {mediaType: "text/csv; charset=utf-8; header=present", begin: header, first: firstHeader, item: row, progress: nothing, fault: rowOf},

	// Server-sent events (the HTML standard, section 9.2). The id of an event is the
	// position after it, so that a browser resumes there.
	"sse": {mediaType: "text/event-stream", json: true, item: event, progress: beat, fault: eventOf},
}

// formNames maps the media types of an Accept header to forms, in order of preference.
var formNames = []struct{ mediaType, name string }{
	{ndjson, "ndjson"},
	{"text/event-stream", "sse"},
	{"application/cbor-seq", "cbor"},
	{"application/cbor", "cbor"},
	{"text/x-python", "python"},
	{"application/json", "json"},
	{"text/csv", "csv"},
}

// formOf returns the name of the form that a request asks for.
func formOf(r *http.Request, name string) (string, error) {
	if name != "" {
		if forms[name] == nil {
			return "", &fault.Error{
				Code: fault.Malformed, At: -1, Text: fmt.Sprintf("format: %.40q is not served", name),
				Hint: "ndjson, json, python, cbor, csv and sse are",
			}
		}
		return name, nil
	}
	for _, f := range formNames {
		if accepts(r, f.mediaType) {
			return f.name, nil
		}
	}
	return "ndjson", nil
}

func bracket(query) []byte   { return []byte("[") }
func lineBreak(query) []byte { return []byte("\n") }

// enveloped returns an item in its envelope.
func (it item) enveloped() *dict.Dict {
	e := it.Dict()
	switch {
	case it.failed != "":
		e.Set("error", dict.String(it.failed))
	case it.record == nil:
		e.Set("record", it.value)
	default:
		e.Set("record", it.record.Value())
	}
	return e
}

// text appends an item as JSON (RFC 8259).
func text(dst []byte, it item, q query) ([]byte, error) {
	switch {
	case it.stored != nil && q.envelope:
		return it.AppendStored(dst, it.stored), nil
	case it.stored != nil:
		return json.AppendCompact(dst, it.stored), nil
	case q.envelope && q.exact:
		return json.Codec{Strict: true}.Append(dst, it.enveloped())
	case q.envelope && it.record != nil:
		return it.Append(dst, it.record, new(json.Report)), nil
	case q.envelope:
		return json.Render(dst, it.enveloped(), nil), nil
	case it.record == nil:
		made, err := it.value.MarshalJSON()
		return append(dst, made...), err
	case q.exact:
		return json.Codec{Strict: true}.Append(dst, it.record)
	default:
		return json.Render(dst, it.record, nil), nil
	}
}

// line appends an item as a line of JSON.
func line(dst []byte, it item, q query) ([]byte, error) {
	out, err := text(dst, it, q)
	if err != nil {
		return dst, err
	}
	return append(out, '\n'), nil
}

func lineOf(f *fault.Error) []byte { return append(json.Render(nil, f.Dict(), nil), '\n') }

// literal appends an item as a Python literal on a line of its own.
func literal(dst []byte, it item, q query) ([]byte, error) {
	d := it.record
	switch {
	case q.envelope:
		d = it.enveloped()
	case d == nil:
		return append(append(dst, it.value.String()...), '\n'), nil
	}
	out, err := python.Codec{Lossy: !q.exact}.Append(dst, d)
	if err != nil {
		return dst, err
	}
	return append(out, '\n'), nil
}

// exact appends an item as CBOR, without losses.
func exact(dst []byte, it item, q query) ([]byte, error) {
	d := it.record
	switch {
	case q.envelope:
		d = it.enveloped()
	case d == nil:
		out, err := cbor.Codec{}.Append(nil, dict.Of("", it.value))
		return append(dst, out[len("\xa1\x60"):]...), err // without the map header and the key
	}
	return cbor.Codec{}.Append(dst, d)
}

func exactOf(f *fault.Error) []byte {
	out, _ := cbor.Codec{}.Append(nil, f.Dict()) // CBOR can encode every fault
	return out
}

// event appends an item as a server-sent event.
func event(dst []byte, it item, q query) ([]byte, error) {
	dst = append(dst, "id: "...)
	dst, _ = it.next.AppendText(dst)
	out, err := text(append(dst, "\ndata: "...), it, q)
	if err != nil {
		return dst, err
	}
	return append(out, "\n\n"...), nil
}

func eventOf(f *fault.Error) []byte {
	return append(json.Render([]byte("event: problem\ndata: "), f.Dict(), nil), "\n\n"...)
}

// beat returns a comment with the position up to which there are no records.
func beat(next string) string { return ": nothing\nid: " + next + "\n\n" }

func nothing(string) string { return "" }
