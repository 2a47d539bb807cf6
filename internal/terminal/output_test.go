package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
)

// Unprintable characters are shown as escapes, wherever they come from.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"Zoë 😀 '\"\\":                      "Zoë 😀 '\"\\",
		"\x1b]0;x\x07":                     `\x1b]0;x\a`,
		"a\nb\r\tc\x7f":                    `a\nb\r\tc\x7f`,
		"\u009b2J\u202e\u2066\u200f\u2028": `\u009b2J\u202e\u2066\u200f\u2028`,
		"\xff\x9b\xc3":                     `\xff\x9b\xc3`,
		"\ufeff\u00a0\U000e0001":           `\ufeff\u00a0\U000e0001`,
	} {
		if got := Visible(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// JSON on a terminal is escaped and stays the same, however it is split into writes.
func TestOutput(t *testing.T) {
	in := []byte("{\"a\u009b\": \"\x7f\u202e\u2028é😀\u2069\u061c\", \"b\":\t1}\r\n\xff\x1b\r{}\n")
	const want = `{"a\u009b": "\u007f\u202e\u2028é😀\u2069\u061c", "b":` + "\t1}\r\n" + `\xff\u001b\u000d{}` + "\n"
	for cut := range in {
		var out bytes.Buffer
		s := &Output{w: &out, file: os.Stdin} // anything but nil counts as a terminal
		for _, part := range [][]byte{in[:cut], in[cut:]} {
			if n, err := s.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if got := out.String(); got != want {
			t.Fatalf("cut at %d: %q, want %q", cut, got, want)
		}
	}
	var shown, was any
	line, _, _ := bytes.Cut([]byte(want), []byte("\r"))
	if err := errors.Join(json.Unmarshal(line, &shown), json.Unmarshal(in[:bytes.IndexByte(in, '\r')], &was)); err != nil || fmt.Sprint(shown) != fmt.Sprint(was) {
		t.Errorf("%v, want %v (%v)", shown, was, err)
	}
}

// Colours are for terminals whose users want them, and for those who ask for them.
func TestColor(t *testing.T) {
	for _, c := range []struct {
		terminal            bool
		when, noColor, term string
		want                bool
	}{
		{true, Auto, "", "xterm", true},
		{true, Auto, "1", "xterm", false},
		{true, Auto, "", "dumb", false},
		{true, Never, "", "xterm", false},
		{true, Always, "1", "dumb", true},
		{false, Auto, "", "xterm", false},
		{false, Always, "", "xterm", true},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		o := NewOutput(new(bytes.Buffer))
		if c.terminal {
			o.file = os.Stdin
		}
		o.SetColor(c.when)
		if o.Color() != c.want {
			t.Errorf("%+v: %v", c, o.Color())
		}
	}
}
