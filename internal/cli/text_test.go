package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

// What is not printable is shown as an escape, wherever it comes from.
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
		if got := visible(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	var out bytes.Buffer
	evil := errors.New("dictwire: a\n\x1b[2J")
	say(&out, "%s %v %d", "\x07", evil, 7)
	tell(&out, errors.Join(evil, hintError{errors.New("b"), "c\r"}))
	tell(&out, fmt.Errorf("x: %w", errors.Join(evil, evil)))
	table := newTable(&out)
	table.row("A", "B")
	table.row("\t\n", evil)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = "dictwire: \\a a\\n\\x1b[2J 7\n" +
		"dictwire: a\\n\\x1b[2J\ndictwire: b\nhint: c\\r\n" +
		"dictwire: x: dictwire: a\\n\\x1b[2J\\ndictwire: a\\n\\x1b[2J\n" +
		"A     B\n\\t\\n  a\\n\\x1b[2J\n"
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
}

// JSON on a terminal is escaped and stays the same, however it is cut into writes.
func TestScreen(t *testing.T) {
	in := []byte("{\"a\u009b\": \"\x7f\u202e\u2028é😀\u2069\u061c\", \"b\":\t1}\r\n\xff\x1b\r{}\n")
	const want = `{"a\u009b": "\u007f\u202e\u2028é😀\u2069\u061c", "b":` + "\t1}\r\n" + `\xff\u001b\u000d{}` + "\n"
	for cut := range in {
		var out bytes.Buffer
		s := &screen{terminal: &out}
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
	var out bytes.Buffer
	if onScreen(&out) != &out || unescaped(&screen{terminal: &out}) != &out {
		t.Error("what is no terminal is escaped")
	}
}

// The nearest flag is one that is like the word, or begins with it.
func TestNearestFlag(t *testing.T) {
	cmd := tailCommand()
	for name, want := range map[string]string{
		"no-folow": "no-follow", "nofollow": "no-follow", "follow": "no-follow", "topics": "topic", "fliter": "filter",
		"env": "envelope", "zzz": "", "form": "format", "x": "",
	} {
		if got := nearestFlag(cmd, name); got != want {
			t.Errorf("--%s: %q, want %q", name, got, want)
		}
	}
}
