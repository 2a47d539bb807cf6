package cli

import (
	"bytes"
	"strings"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/terminal"
)

// A dress is how records look on a terminal: with time and topic, and JSON in colours. It
// belongs to one goroutine.
type dress struct {
	out    *terminal.Output
	beside bool // time and topic are written before each record
	json   bool // the output is JSON
	indent bool // over several lines

	day    string // of the last record
	topics int    // width of the topic column so far
	line   []byte
}

// Widths of the topic column.
const (
	leastTopic  = 8
	widestTopic = 24
)

// dressed returns how records look, or nil if they are written unchanged, as in binary
// formats.
func dressed(out *terminal.Output, format string, indent bool) *dress {
	d := &dress{
		out: out, beside: out.IsTerminal() && (format == "json" || format == "python"),
		json: format == "json", indent: indent, day: time.Now().Format(time.DateOnly),
		topics: leastTopic,
	}
	if !d.beside && (!d.json || !indent && !out.Color()) {
		return nil
	}
	return d
}

// dress styles the text of a record, which is the end of dst from an offset on. The
// result is written to the terminal without escaping.
func (d *dress) dress(dst []byte, from int, topic string, at time.Time) []byte {
	d.line = append(d.line[:0], bytes.TrimSuffix(dst[from:], []byte("\n"))...)
	dst = dst[:from]
	if d.beside {
		dst = d.appendBeside(dst, topic, at)
	}
	if d.json {
		dst = terminal.AppendJSON(dst, d.line, d.indent, d.out.Color())
	} else {
		dst = append(dst, terminal.Escaped(d.line)...)
	}
	return append(dst, '\n')
}

// appendBeside appends time and topic, preceded by the day if it has changed.
func (d *dress) appendBeside(dst []byte, topic string, at time.Time) []byte {
	at = at.Local()
	if day := at.Format(time.DateOnly); day != d.day {
		d.day = day
		dst = append(append(dst, d.out.Paint(terminal.Quiet, day)...), '\n')
	}
	topic = terminal.Shorten(terminal.Visible(topic), widestTopic)
	d.topics = max(d.topics, terminal.Columns(topic))
	end := strings.Repeat(" ", d.topics-terminal.Columns(topic)+2)
	if d.indent {
		end = "\n"
	}
	return append(append(dst, d.out.Paint(terminal.Quiet, at.Format(clock)+"  "+topic)...), end...)
}

// clock is how times of day are written.
const clock = "15:04:05.000"

// A columns writes some keys of each dictionary: as a table on a terminal, and separated
// by tabs elsewhere.
type columns struct {
	keys  []string
	table *terminal.Table // nil: not a terminal
}

// newColumns returns a writer for the keys, or nil without any.
func newColumns(out *terminal.Output, keys []string) *columns {
	if len(keys) == 0 {
		return nil
	}
	c := &columns{keys: keys}
	if out.IsTerminal() {
		c.table = terminal.NewTable(out)
		c.table.Grows = true
		c.table.Heads(append([]string{"TIME", "TOPIC"}, keys...)...)
	}
	return c
}

// append appends the line of a dictionary. For a table, that is a placeholder which text
// replaces.
func (c *columns) append(dst []byte, d *dict.Dict, r *dictwire.Received) []byte {
	var cells []any
	for i, key := range c.keys {
		text, isNumber := "", false
		if v, ok := find(d, key); ok {
			text = cellOf(v)
			isNumber = v.Kind() == dict.KindInt || v.Kind() == dict.KindFloat
		}
		if isNumber && len(text) < widestNumber {
			cells = append(cells, terminal.Quantity(text))
		} else {
			cells = append(cells, text)
		}
		if i > 0 {
			dst = append(dst, '\t')
		}
		dst = append(dst, terminal.Visible(text)...)
	}
	if c.table != nil {
		c.table.Row(append([]any{r.Time, r.Topic}, cells...)...)
	}
	return append(dst, '\n')
}

// widestNumber is the width beyond which a table may shorten a number.
const widestNumber = 24

// text returns the output for lines that append has made.
func (c *columns) text(lines []byte) []byte {
	if c == nil || c.table == nil {
		return lines
	}
	return append(lines[:0], c.table.Text()...)
}

// find returns the value of a key, or of a key within another: user.name.
func find(d *dict.Dict, key string) (dict.Value, bool) {
	if v, ok := d.Get(key); ok {
		return v, true
	}
	for i, r := range key {
		if r != '.' {
			continue
		}
		if v, ok := d.Get(key[:i]); ok {
			if inner, is := v.Dict(); is {
				if v, ok := find(inner, key[i+1:]); ok {
					return v, true
				}
			}
		}
	}
	return dict.Value{}, false
}

// cellOf returns a text as it is, and any other value as JSON.
func cellOf(v dict.Value) string {
	if text, ok := v.Text(); ok {
		return text
	}
	const before, after = `{"":`, "}"
	line := json.Render(nil, dict.Of("", v), nil)
	return string(line[len(before) : len(line)-len(after)])
}
