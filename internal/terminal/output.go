// Package terminal formats output for people: it finds out what is a terminal and how wide
// it is, counts the columns that a text takes, and writes tables, and JSON in colours. What
// others have chosen (names, texts of errors, bytes of records) can
// neither move the cursor nor look like something else:
//
//	text for people        Visible: escapes of Go for all that is not printable
//	data on a terminal     Output.Write: escapes as in JSON and Python for what a terminal obeys
//	data elsewhere         every byte as it is
//
// Colours are few and quiet, and never the only way to tell two things apart.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// When to use colours.
const (
	Auto   = "auto" // on a terminal, unless NO_COLOR or TERM=dumb says not to
	Always = "always"
	Never  = "never"
)

// An Output is what a command writes data to. It belongs to one goroutine at a time.
type Output struct {
	w     io.Writer
	file  *os.File // nil: no terminal
	color bool
	rest  []byte // the beginning of a rune or of an end of a line
}

// NewOutput returns an Output that writes to w, with colours as Auto has them.
func NewOutput(w io.Writer) *Output {
	o := &Output{w: w}
	if f, ok := w.(*os.File); ok && Is(f) {
		o.file = f
	}
	o.SetColor(Auto)
	return o
}

// Is reports whether w, or a reader, is a terminal.
func Is(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Dumb reports whether terminals can do nothing but show text.
func Dumb() bool { return os.Getenv("TERM") == "dumb" }

// WidthOf returns how many columns a terminal has now, 0 where that is not known.
func WidthOf(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return max(width, 0)
}

// SetColor says when to use colours: Auto, Always or Never.
func (o *Output) SetColor(when string) {
	o.color = when == Always || when == Auto && o.file != nil && os.Getenv("NO_COLOR") == "" && !Dumb()
}

// IsTerminal reports whether a person looks.
func (o *Output) IsTerminal() bool { return o.file != nil }

// Color reports whether what is written is coloured.
func (o *Output) Color() bool { return o.color }

// Width returns how many columns there are now, 0 for as many as one likes.
func (o *Output) Width() int {
	if o.file == nil {
		return 0
	}
	return WidthOf(o.file)
}

// Raw returns what is below: what is written to it is escaped already, or the user's.
func (o *Output) Raw() io.Writer { return o.w }

// Write implements [io.Writer]. On a terminal, what would be a command to it, or turns
// the direction of writing, is escaped as in strings of JSON and Python, where alone it
// stands in what they write: so both stay what they are.
func (o *Output) Write(p []byte) (int, error) {
	if o.file == nil {
		return o.w.Write(p)
	}
	in := append(o.rest, p...)
	out, rest := escape(make([]byte, 0, len(in)+len(in)/8), in)
	o.rest = append([]byte(nil), rest...)
	if _, err := o.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escape appends what a terminal shows of data. What may be the beginning of a rune, or of
// an end of a line, is left.
func escape(dst, in []byte) (out, rest []byte) {
	for len(in) > 0 && utf8.FullRune(in) && !bytes.Equal(in, []byte{'\r'}) { // which ends a line, or not
		r, size := utf8.DecodeRune(in)
		switch {
		case r == utf8.RuneError && size == 1:
			dst = fmt.Appendf(dst, `\x%02x`, in[0])
		case r != '\n' && r != '\t' && commands(r) && !bytes.HasPrefix(in, []byte("\r\n")):
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = append(dst, in[:size]...)
		}
		in = in[size:]
	}
	return dst, in
}

// Escaped returns what a terminal shows of whole lines of data.
func Escaped(data []byte) []byte {
	out, rest := escape(make([]byte, 0, len(data)+len(data)/8), data)
	for _, b := range rest {
		out = fmt.Appendf(out, `\x%02x`, b)
	}
	return out
}

// commands reports whether a terminal obeys a rune instead of showing it.
func commands(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Visible returns a text with all that is not printable as an escape of Go: what
// terminals obey, what turns the direction of writing, and ends of lines.
func Visible(s string) string {
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 || !strconv.IsPrint(r) {
			escaped := strconv.Quote(s[:size])
			b.WriteString(escaped[1 : len(escaped)-1])
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// A Style is how a text looks, where there are colours.
type Style string

// The styles that there are.
const (
	Plain   Style = ""
	Bold    Style = "1"    // heads
	Quiet   Style = "2"    // what stands beside data: times, topics
	key     Style = "1;34" // of JSON
	text    Style = "32"
	number  Style = "36"
	literal Style = "35" // true, false, null
)

// Append appends a text that is visible already in a style.
func (s Style) Append(dst, text []byte, color bool) []byte {
	if !color || s == Plain || len(text) == 0 {
		return append(dst, text...)
	}
	dst = append(append(append(dst, "\x1b["...), s...), 'm')
	return append(append(dst, text...), "\x1b[0m"...)
}

// Paint returns a text that is visible already in a style.
func (o *Output) Paint(s Style, text string) string {
	return string(s.Append(nil, []byte(text), o.color))
}
