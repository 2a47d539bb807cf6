package terminal

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// onTerminal returns a table as on a terminal of a given width, at noon.
func onTerminal(out *bytes.Buffer, width int, color bool) *Table {
	t := NewTable(&Output{w: out, color: color})
	t.width = func() int { return width }
	t.now = func() time.Time { return time.Date(2026, 11, 30, 12, 0, 0, 0, time.FixedZone("", 3600)) }
	return t
}

// Columns are aligned, numbers to the right. On a narrow terminal the widest ones are
// shortened in the middle, and if that is not enough, rows become blocks. Numbers are never
// shortened, and no line is wider than the terminal.
func TestTable(t *testing.T) {
	const whole = "NAME     N  TEXT\nab       7  x\n日本  1234  a long text indeed\n\\x1b   9 B  -\n"
	for width, want := range map[int]string{
		0:  whole,
		30: whole,
		24: strings.Replace(whole, "a long text indeed", "a long…ndeed", 1),
		16: "NAME  ab\nN     7\nTEXT  x\n\nNAME  日本\nN     1234\nTEXT  a lon…deed\n\nNAME  \\x1b\nN     9 B\nTEXT  -\n",
		7:  "NAME  …\nN     7\nTEXT  x\n\nNAME  …\nN     …\nTEXT  …\n\nNAME  …\nN     …\nTEXT  -\n",
	} {
		var out bytes.Buffer
		tb := onTerminal(&out, width, false)
		tb.Heads("NAME", "N", "TEXT")
		tb.Row("ab", 7, "x")
		tb.Row("日本", 1234, "a long text indeed")
		tb.Row("\x1b", Quantity("9 B"), "")
		if err := tb.Flush(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%d columns:\n%s\nwant\n%s", width, &out, want)
		}
		for line := range strings.Lines(out.String()) {
			if got := Columns(strings.TrimSuffix(line, "\n")); width > 0 && got > width {
				t.Errorf("%q takes %d columns of %d", line, got, width)
			}
		}
	}
}

// With colours, heads are bold and times dim. A growing table prints its heads once, and
// keeps its columns.
func TestTableGrows(t *testing.T) {
	var out bytes.Buffer
	tb := onTerminal(&out, 40, true)
	tb.Grows = true
	tb.Heads("AT", "NAME")
	for _, name := range []string{"Alexander", "\u202e"} {
		tb.Row(time.Time{}, name)
		if err := tb.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	const want = "\x1b[1mAT\x1b[0m  \x1b[1mNAME\x1b[0m\n\x1b[2m-\x1b[0m   Alexander\n\x1b[2m-\x1b[0m   \\u202e\n"
	if out.String() != want {
		t.Errorf("%q\nwant\n%q", &out, want)
	}
}

// Times are in RFC 3339 for programs, and in local time for people.
func TestMoment(t *testing.T) {
	var out bytes.Buffer
	tb := onTerminal(&out, 0, false)
	early, today := time.Date(2026, 11, 29, 22, 59, 0, 0, time.UTC), time.Date(2026, 11, 29, 23, 0, 1, 0, time.UTC)
	if got := tb.moment(today); got != "2026-11-29T23:00:01Z" {
		t.Error(got)
	}
	if got := tb.person(early) + ", " + tb.person(today); got != "2026-11-29 23:59, 00:00:01" {
		t.Error(got)
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "a…d"},
		{"abcd", 2, "a…"},
		{"abcd", 1, "…"},
		{"abcd", 0, ""},
		{"日本語日本語", 7, "日…本語"},
		{"日本語日本語", 8, "日本…語"},
		{"e\u0301e\u0301e\u0301e\u0301", 3, "e\u0301…e\u0301"},
	} {
		got := Shorten(c.text, c.width)
		if got != c.want || Columns(got) > c.width {
			t.Errorf("Shorten(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
