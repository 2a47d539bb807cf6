// Package csvrow writes dictionaries as rows of CSV (RFC 4180).
package csvrow

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
)

// A Writer writes dictionaries as rows of the same columns: the text of a string as it
// is, nothing for null and for what a dictionary lacks, and anything else as JSON. Lines
// end with LF. One goroutine uses it.
type Writer struct {
	Columns     []string // keys, each once; nil: those of the first dictionary
	Spreadsheet bool     // what a spreadsheet would run has a ' in front
	Others      bool     // keys without a column are left out

	// KeyOf returns the text of a key, or false if it has none. Nil means that only strings
	// have one.
	KeyOf func(k dict.Value) (text string, ok bool)

	// JSON appends a dictionary as JSON.
	JSON func(dst []byte, d *dict.Dict) ([]byte, error)

	columns map[string]int // places in Columns
	cells   []string
	full    []bool // of the cells
	out     appended
	csv     *csv.Writer // to out
}

// ErrNoColumns is what [Writer.Begin] returns for a dictionary without keys.
var ErrNoColumns = errors.New("the first dictionary is empty, so that it names no columns")

// A ColumnError says that a key has no column of its own.
type ColumnError struct {
	Key   dict.Value
	Twice bool // another key of the dictionary has the same text
}

func (e *ColumnError) Error() string {
	if e.Twice {
		return fmt.Sprintf("the key %v has the same text as another one", e.Key)
	}
	return fmt.Sprintf("the key %v is none of the columns", e.Key)
}

// Begin takes the columns from d, where they are not known. Row and Header need them.
func (w *Writer) Begin(d *dict.Dict) error {
	if w.columns != nil {
		return nil
	}
	if w.Columns == nil {
		names := make([]string, 0, d.Len())
		for k := range d.All() {
			name, ok := w.textOf(k)
			if !ok {
				return &codec.LossError{Codec: "csv", Kind: k.Kind(), Key: true, Hint: "columns are named by strings; use cbor.Codec"}
			}
			names = append(names, strings.Clone(name)) // not all of the record
		}
		if len(names) == 0 {
			return ErrNoColumns
		}
		w.Columns = names
	}
	w.columns = make(map[string]int, len(w.Columns))
	for i, name := range w.Columns {
		w.columns[name] = i
	}
	w.cells, w.full = make([]string, len(w.Columns)), make([]bool, len(w.Columns))
	w.csv = csv.NewWriter(&w.out)
	return nil
}

func (w *Writer) textOf(k dict.Value) (string, bool) {
	if w.KeyOf != nil {
		return w.KeyOf(k)
	}
	return k.Text()
}

// RenderedKey returns a key as [json.Render] writes it: any key has a text.
func RenderedKey(k dict.Value) (text string, ok bool) {
	key := substitute.OfKey(k)
	if key.HasSurrogates() {
		key = substitute.Of(key)
	}
	return key.Text()
}

// Header appends the row that names the columns.
func (w *Writer) Header(dst []byte) []byte {
	for i, name := range w.Columns {
		w.cells[i] = w.safe(name)
	}
	return w.line(dst)
}

// Row appends the row of d. The error is a *[ColumnError] or one of JSON.
func (w *Writer) Row(dst []byte, d *dict.Dict) ([]byte, error) {
	clear(w.full)
	clear(w.cells)
	defer clear(w.cells) // which hold on to d
	for k, v := range d.All() {
		name, ok := w.textOf(k)
		i, is := w.columns[name]
		switch {
		case (!ok || !is) && w.Others:
			continue
		case !ok || !is:
			return dst, &ColumnError{Key: k}
		case w.full[i]:
			return dst, &ColumnError{Key: k, Twice: true}
		}
		cell, err := w.cell(w.Columns[i], v)
		if err != nil {
			return dst, err
		}
		w.cells[i], w.full[i] = cell, true
	}
	return w.line(dst), nil
}

// line appends the cells as a row.
func (w *Writer) line(dst []byte) []byte {
	if len(w.cells) == 1 && w.cells[0] == "" {
		return append(dst, "\"\"\n"...) // readers pass over empty lines
	}
	w.out = dst
	_ = w.csv.Write(w.cells) // to memory
	w.csv.Flush()
	dst, w.out = w.out, nil
	return dst
}

// cell returns the text of a value.
func (w *Writer) cell(name string, v dict.Value) (string, error) {
	if v.Kind() == dict.KindNull {
		return "", nil
	}
	text, isText := v.Text()
	if !isText || !utf8.ValidString(text) {
		record, err := w.JSON(nil, dict.Of(name, v))
		if err != nil {
			return "", err
		}
		key, err := w.JSON(nil, dict.Of(name, nil))
		if err != nil {
			return "", err
		}
		text = string(record[len(key)-len("null}") : len(record)-1])
		if !strings.HasPrefix(text, `"`) {
			return text, nil
		}
		back, err := (json.Codec{}).Decode(record, codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1})
		if err != nil {
			return "", err
		}
		only, _ := back.Get(name)
		text, _ = only.Text()
	}
	return w.safe(text), nil
}

// safe returns a text that a spreadsheet takes for a text.
func (w *Writer) safe(text string) string {
	if w.Spreadsheet && text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}

// An appended is bytes that are written to their end.
type appended []byte

func (a *appended) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}
