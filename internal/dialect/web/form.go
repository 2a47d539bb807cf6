package web

import (
	"fmt"
	"net/http"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/envelope"
)

// An item is a record that is given to a reader.
type item struct {
	envelope.Envelope
	next   string // the position after it
	record *dict.Dict
}

// A form is how an answer holds records. It belongs to one answer.
type form interface {
	mediaType() string
	begin(dst []byte) []byte
	item(dst []byte, it item, q query) ([]byte, error)
	progress(dst []byte, next string) []byte
	fault(dst []byte, f *fault.Error) []byte // after which the answer ends, and is not whole
	end(dst []byte) []byte
}

// forms makes them, by their names.
var forms = map[string]func() form{
	"ndjson": func() form { return &lines{} },
	"json":   func() form { return &array{} },
	"cbor":   func() form { return sequence{} },
	"sse":    func() form { return events{} },
}

// formNames are the names of the media types that a request may accept.
var formNames = []struct{ mediaType, name string }{
	{ndjson, "ndjson"},
	{"text/event-stream", "sse"},
	{"application/cbor-seq", "cbor"},
	{"application/cbor", "cbor"},
	{"application/json", "json"},
}

// formOf returns the name of the form that a request asks for.
func formOf(r *http.Request, name string) (string, error) {
	if name != "" {
		if forms[name] == nil {
			return "", &fault.Error{
				Code: fault.Malformed, At: -1, Text: fmt.Sprintf("format: %.40q is not served", name),
				Hint: "ndjson, json, cbor and sse are",
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

// A text appends records as JSON (RFC 8259).
type text struct{ report json.Report }

// append appends an item.
func (t *text) append(dst []byte, it item, q query) ([]byte, error) {
	t.report.Reset()
	switch {
	case q.exact && q.envelope:
		e := it.Dict()
		e.Set("record", it.record.Value())
		return json.Codec{Strict: true}.Append(dst, e)
	case q.exact:
		return json.Codec{Strict: true}.Append(dst, it.record)
	case q.envelope:
		return it.Append(dst, it.record, &t.report), nil
	default:
		return json.Render(dst, it.record, nil), nil
	}
}

// lines is a record on each line.
type lines struct{ text }

func (*lines) mediaType() string { return ndjson }

func (*lines) begin(dst []byte) []byte { return dst }

func (l *lines) item(dst []byte, it item, q query) ([]byte, error) {
	out, err := l.append(dst, it, q)
	if err != nil {
		return dst, err
	}
	return append(out, '\n'), nil
}

func (*lines) progress(dst []byte, _ string) []byte { return dst }

func (*lines) fault(dst []byte, f *fault.Error) []byte {
	return append(json.Render(dst, f.Dict(), nil), '\n')
}

func (*lines) end(dst []byte) []byte { return dst }

// array is one array of JSON, with a record on each line.
type array struct {
	text
	begun bool
}

func (*array) mediaType() string { return "application/json" }

func (*array) begin(dst []byte) []byte { return append(dst, '[') }

func (a *array) next(dst []byte) []byte {
	if a.begun {
		dst = append(dst, ',')
	}
	return append(dst, '\n')
}

func (a *array) item(dst []byte, it item, q query) ([]byte, error) {
	out, err := a.append(a.next(dst), it, q)
	if err != nil {
		return dst, err
	}
	a.begun = true
	return out, nil
}

func (*array) progress(dst []byte, _ string) []byte { return dst }

func (a *array) fault(dst []byte, f *fault.Error) []byte {
	return append(json.Render(a.next(dst), f.Dict(), nil), '\n')
}

func (*array) end(dst []byte) []byte { return append(dst, "\n]\n"...) }

// sequence is a sequence of CBOR (RFC 8742), which is exact.
type sequence struct{}

func (sequence) mediaType() string { return "application/cbor-seq" }

func (sequence) begin(dst []byte) []byte { return dst }

func (sequence) item(dst []byte, it item, q query) ([]byte, error) {
	d := it.record
	if q.envelope {
		d = it.Dict()
		d.Set("record", it.record.Value())
	}
	return cbor.Codec{}.Append(dst, d)
}

func (sequence) progress(dst []byte, _ string) []byte { return dst }

func (sequence) fault(dst []byte, f *fault.Error) []byte {
	out, err := cbor.Codec{}.Append(dst, f.Dict())
	if err != nil {
		return dst
	}
	return out
}

func (sequence) end(dst []byte) []byte { return dst }

// events are server-sent events (the HTML standard, section 9.2). The id of each is the
// position after it, so that a browser goes on where it was.
type events struct{}

func (events) mediaType() string { return "text/event-stream" }

func (events) begin(dst []byte) []byte { return dst }

func (events) item(dst []byte, it item, q query) ([]byte, error) {
	out := append(dst, "id: "+it.next+"\ndata: "...)
	out, err := new(text).append(out, it, q)
	if err != nil {
		return dst, err
	}
	return append(out, "\n\n"...), nil
}

func (events) progress(dst []byte, next string) []byte {
	return append(dst, ": nothing\nid: "+next+"\n\n"...)
}

func (events) fault(dst []byte, f *fault.Error) []byte {
	dst = append(dst, "event: problem\ndata: "...)
	return append(json.Render(dst, f.Dict(), nil), "\n\n"...)
}

func (events) end(dst []byte) []byte { return dst }
