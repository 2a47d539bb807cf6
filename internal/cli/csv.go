package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/csvrow"
)

// CSV is not a codec, since the first row says what the others mean.

// A csvReader reads rows of CSV as dictionaries. The first row has the keys.
type csvReader struct {
	name   string // of the file, for errors
	in     *bounded
	b      *bufio.Reader // of in
	rows   *csv.Reader
	infer  bool
	limits codec.Limits
	header []string
	line   int   // of the next row, as far as known
	broken error // why no more rows can be read
}

// newCSV returns the source of a CSV file. With infer, values that look like numbers or
// booleans are converted.
func newCSV(name string, r io.Reader, infer bool, lim codec.Limits) *csvReader {
	in := &bounded{r: r, most: int64(lim.Effective().RecordBytes)}
	b := bufio.NewReaderSize(in, 4<<10)
	return &csvReader{name: name, in: in, b: b, rows: csv.NewReader(b), infer: infer, limits: lim, line: 1}
}

// begin skips a byte order mark and finds what separates fields: the first comma,
// semicolon, tab or vertical bar of the first row that is not within quotes.
func (c *csvReader) begin() {
	if mark, _ := c.b.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = c.b.Discard(3)
	}
	quoted := false
	for i := 0; ; i++ {
		b, err := c.b.Peek(i + 1)
		if err != nil {
			return
		}
		switch at := b[i]; {
		case at == '"':
			quoted = !quoted
		case quoted:
		case at == '\n' && len(bytes.TrimSpace(b)) > 0:
			return
		case strings.IndexByte(",;\t|", at) >= 0:
			c.rows.Comma = rune(at)
			return
		}
	}
}

// A bounded is a reader that gives no more bytes than a row may have.
type bounded struct {
	r    io.Reader
	most int64 // bytes of a row; negative for no limit
	read int64
	from int64 // where the row begins
}

var errRowTooLarge = errors.New("too large")

// ahead is how much input of later rows may be read.
const ahead = 16 << 10

func (b *bounded) Read(p []byte) (int, error) {
	if b.most >= 0 && b.read-b.from > b.most+ahead {
		return 0, errRowTooLarge
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	return n, err
}

// dict returns the next row, io.EOF, or a *recordError.
func (c *csvReader) dict(ctx context.Context) (*dict.Dict, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	if c.header == nil {
		if err := c.readHeader(ctx); err != nil {
			c.broken = io.EOF
			return nil, err
		}
	}
	row, err := c.row(ctx)
	if err != nil {
		return nil, err
	}
	d := new(dict.Dict)
	for i, text := range row {
		if !utf8.ValidString(text) {
			line, column := c.rows.FieldPos(i)
			return nil, c.fault(line, column, fault.Malformed, fmt.Sprintf("want UTF-8 in the column %q", c.header[i]),
				"encode the text as UTF-8, as iconv -t UTF-8 does")
		}
		d.Set(c.header[i], c.value(text))
	}
	return d, nil
}

func (c *csvReader) readHeader(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.begin()
	row, err := c.row(ctx)
	var bad *recordError
	if errors.As(err, &bad) {
		bad.Msg = "the first row, which names the columns: " + bad.Msg
		return hintError{bad, bad.Hint}
	}
	if err != nil {
		return err
	}
	seen := make(map[string]int)
	for i, name := range row {
		line, column := c.rows.FieldPos(i)
		first, twice := seen[name]
		msg := ""
		switch {
		case name == "":
			msg = fmt.Sprintf("column %d has no name", i+1)
		case !utf8.ValidString(name):
			return hintError{
				c.fault(line, column, fault.Malformed, fmt.Sprintf("want UTF-8 in the name of column %d", i+1), ""),
				"encode the text as UTF-8, as iconv -t UTF-8 does",
			}
		case strings.Contains(name, "\r"):
			return hintError{
				c.fault(line, column, fault.Malformed, fmt.Sprintf("a carriage return in the name of column %d", i+1), ""),
				`where it stands for the end of a row, write line feeds, as tr '\r' '\n' does`,
			}
		case twice:
			msg = fmt.Sprintf("columns %d and %d are both named %q", first, i+1, name)
		}
		if msg != "" {
			return hintError{c.fault(line, column, fault.Malformed, msg, ""), "the first row names the columns, each by a name of its own"}
		}
		seen[name] = i + 1
	}
	c.header = slices.Clone(row)
	return nil
}

// row reads a row, of as many fields as the first.
func (c *csvReader) row(ctx context.Context) ([]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.in.from = c.rows.InputOffset()
	row, err := c.rows.Read()
	var bad *csv.ParseError
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		line, column := c.rows.FieldPos(0)
		c.passed(row)
		return nil, c.fault(line, column, fault.Malformed, fmt.Sprintf("want %d fields, as in the first row, got %d", len(c.header), len(row)), "")
	case errors.As(err, &bad):
		msg := `a " that is not closed, or not written twice within a quoted text`
		if errors.Is(err, csv.ErrBareQuote) {
			msg = `a " in a text without quotes`
		}
		if c.line = bad.Line + 1; bad.StartLine != bad.Line { // where the next row begins is not certain
			c.broken = io.EOF
			bad.Line, bad.Column = bad.StartLine, 1
			msg += "; nothing after it is read"
		}
		return nil, c.fault(bad.Line, bad.Column, fault.Malformed, msg, `a text with a " stands in quotes, with each " within written twice`)
	case errors.Is(err, errRowTooLarge):
		c.broken = io.EOF
		if len(row) > 0 {
			c.line, _ = c.rows.FieldPos(0)
		}
		return nil, c.fault(c.line, 1, fault.TooLarge, c.tooLarge()+"; nothing after it is read", `perhaps a " is not closed`)
	case err == io.EOF:
		return nil, err
	case err != nil:
		c.broken = io.EOF
		return nil, readError(c.name, err)
	}
	line, column := c.rows.FieldPos(0)
	c.passed(row)
	if c.in.most >= 0 && c.rows.InputOffset()-c.in.from > c.in.most {
		return nil, c.fault(line, column, fault.TooLarge, c.tooLarge(), "")
	}
	return row, nil
}

func (c *csvReader) tooLarge() string {
	return fmt.Sprintf("the row has more than %d bytes; --max-record raises the limit", c.in.most)
}

// passed notes the line where the next row begins.
func (c *csvReader) passed(row []string) {
	last := len(row) - 1
	line, _ := c.rows.FieldPos(last)
	c.line = line + strings.Count(row[last], "\n") + 1
}

func (c *csvReader) fault(line, column int, code fault.Code, msg, hint string) *recordError {
	return &recordError{
		where:       fmt.Sprintf("%s:%d:%d", c.name, line, column),
		SyntaxError: &codec.SyntaxError{Codec: "csv", Code: code, Offset: column - 1, Msg: msg, Hint: hint},
	}
}

var isNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// value returns the value of a field: a text or, with infer, a number or boolean. Only
// what JSON reads as a number is one, so 007 stays a text.
func (c *csvReader) value(text string) dict.Value {
	switch {
	case !c.infer:
	case text == "true", text == "True", text == "TRUE":
		return dict.Bool(true)
	case text == "false", text == "False", text == "FALSE":
		return dict.Bool(false)
	case isNumber.MatchString(text):
		if d, err := (json.Codec{}).Decode([]byte(`{"":`+text+`}`), c.limits); err == nil {
			v, _ := d.Get("")
			return v
		}
	}
	return dict.String(text)
}

// A csvWriter writes dictionaries as rows of CSV, after a row with the keys.
type csvWriter struct {
	csvrow.Writer
	begun bool
}

// append appends a row.
func (c *csvWriter) append(dst []byte, d *dict.Dict) ([]byte, error) {
	if err := c.Begin(d); errors.Is(err, csvrow.ErrNoColumns) {
		return dst, usagef("%v; --columns does", err)
	} else if err != nil {
		return dst, err
	}
	out := dst
	if !c.begun {
		out = c.Header(dst)
	}
	out, err := c.Row(out, d)
	if err != nil {
		return dst, err
	}
	c.begun = true
	return out, nil
}
