package web

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/csvrow"
)

// The columns of a CSV answer are kept until its end, and each row has a cell for every one
// of them.
const (
	maxColumns     = 1024
	maxColumnBytes = 16 << 10 // length of all their names
)

// A table writes an answer in CSV.
type table struct {
	csvrow.Writer
	asked bool // the request names the columns
	named bool // the columns come from the first record
}

// enveloped lists the columns of records in their envelopes.
var enveloped = []string{"position", "next", "topic", "principal", "producer", "number", "time", "event_time", "record", "losses"}

// newTable returns the table for a request.
func (q query) newTable(values url.Values, spreadsheet bool) (*table, error) {
	t := &table{Writer: csvrow.Writer{Spreadsheet: spreadsheet, JSON: rendered, KeyOf: csvrow.RenderedKey}}
	if q.exact {
		t.JSON, t.KeyOf = json.Codec{Strict: true}.Append, nil
	}
	if values.Has("columns") {
		names, err := columnsOf(values.Get("columns"))
		if err != nil {
			return nil, &fault.Error{Code: fault.Malformed, At: -1, Text: "columns: " + err.Error(), Err: err}
		}
		t.asked, t.Columns, t.Others = true, names, !q.exact
	} else if q.envelope {
		t.asked, t.Columns, t.Others = true, enveloped, true
	}
	if t.asked {
		return t, t.Begin(nil)
	}
	return t, nil
}

// columnsOf parses column names: one row of CSV.
func columnsOf(text string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(text))
	names, err := r.Read()
	if err == nil {
		_, err = r.Read()
	}
	switch {
	case err != io.EOF, len(names) == 0:
		return nil, errors.New("want keys separated by commas, as in one row of CSV")
	case len(names) > maxColumns:
		return nil, fmt.Errorf("%d columns, want at most %d", len(names), maxColumns)
	}
	sorted := slices.Sorted(slices.Values(names))
	if i := len(slices.Compact(sorted)); i < len(names) {
		return nil, errors.New("a key comes twice")
	}
	return names, nil
}

// rendered appends a dictionary as RFC 8259 JSON, with losses if necessary.
func rendered(dst []byte, d *dict.Dict) ([]byte, error) { return json.Render(dst, d, nil), nil }

// header returns the header row if the request names the columns.
func header(q query) []byte {
	if !q.table.asked {
		return nil
	}
	return q.table.Header(nil)
}

// firstHeader returns the header row if the columns come from the first record.
func firstHeader(q query) []byte {
	if !q.table.named {
		return nil
	}
	return q.table.Header(nil)
}

// row appends an item as a row. It may be called more than once for the same item.
func row(dst []byte, it item, q query) ([]byte, error) {
	t, d := q.table, it.record
	switch {
	case q.envelope:
		d = it.enveloped()
		var r json.Report
		if it.record != nil {
			json.Render(nil, it.record, &r)
		}
		if r.Lost > 0 {
			d.Set("losses", dict.Int(int64(r.Lost)))
		}
	case d == nil:
		return dst, &fault.Error{
			Code: fault.Loss, At: -1, Text: fmt.Sprintf("the record at %s: the filter returned %.40s, and a CSV row needs a dictionary", it.at, it.value),
			Hint: "a filter for csv makes dictionaries, as {name, age}",
		}
	}
	if !t.asked && !t.named {
		if err := t.name(it, q); err != nil {
			return dst, err
		}
	}
	out, err := t.Row(dst, d)
	var other *csvrow.ColumnError
	if errors.As(err, &other) {
		return dst, it.lacks(err, q)
	}
	return out, err
}

// name takes the columns from a record.
func (t *table) name(it item, q query) error {
	bytes := 0
	for k := range it.record.All() {
		text, _ := csvrow.RenderedKey(k)
		bytes += len(text)
	}
	if n := it.record.Len(); n > maxColumns || bytes > maxColumnBytes {
		return it.lacks(fmt.Errorf("it has more than %d keys or %d bytes of keys", maxColumns, maxColumnBytes), q)
	}
	if err := t.Begin(it.record); errors.Is(err, csvrow.ErrNoColumns) {
		return it.lacks(errors.New("it is empty, so it has no columns"), q)
	} else if err != nil {
		return err
	}
	t.named = true
	return nil
}

// lacks returns the fault of a record that does not fit the table.
func (it item) lacks(err error, q query) error {
	f := &fault.Error{
		Code: fault.Loss, At: -1, Text: fmt.Sprintf("the record at %s: %v", it.at, err),
		Hint: "columns=KEY,KEY gives those keys of each record, and no others", Err: err,
	}
	if q.table.asked {
		f.Hint = "without exact=1, keys that are none of the columns are left out"
	}
	return f
}

// rowOf returns a fault as a row with one cell.
func rowOf(f *fault.Error) []byte {
	text := string(json.Render(nil, f.Dict(), nil))
	return []byte(`"` + strings.ReplaceAll(text, `"`, `""`) + "\"\n")
}
