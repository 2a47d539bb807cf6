package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// A screen is a terminal that data is written to. What would be a command to it,
// or turns the direction of writing, is escaped as in strings of JSON and Python,
// where alone it stands in what they write: so both stay what they are.
type screen struct {
	terminal io.Writer
	rest     []byte // the beginning of a rune or of an end of a line
}

// onScreen returns what data is written to: w itself, with all its bytes, unless
// it is a terminal.
func onScreen(w io.Writer) io.Writer {
	if isTerminal(w) {
		return &screen{terminal: w}
	}
	return w
}

// unescaped returns what is below a screen: what a command of the user's writes
// is the user's.
func unescaped(w io.Writer) io.Writer {
	if s, ok := w.(*screen); ok {
		return s.terminal
	}
	return w
}

// Write implements [io.Writer].
func (s *screen) Write(p []byte) (int, error) {
	in := append(s.rest, p...)
	out := make([]byte, 0, len(in)+len(in)/8)
	for len(in) > 0 && utf8.FullRune(in) && !bytes.Equal(in, []byte{'\r'}) { // which ends a line, or not
		r, size := utf8.DecodeRune(in)
		switch {
		case r == utf8.RuneError && size == 1:
			out = fmt.Appendf(out, `\x%02x`, in[0])
		case r != '\n' && r != '\t' && commands(r) && !bytes.HasPrefix(in, []byte("\r\n")):
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, in[:size]...)
		}
		in = in[size:]
	}
	s.rest = append([]byte(nil), in...)
	if _, err := s.terminal.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// commands reports whether a terminal obeys a rune instead of showing it.
func commands(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
