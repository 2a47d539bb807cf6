package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// The output of a command can't control a terminal, whoever chose the words.
func TestSay(t *testing.T) {
	var out bytes.Buffer
	evil := errors.New("dictwire: a\n\x1b[2J")
	say(&out, "%s %v %d", "\x07", evil, 7)
	tell(&out, errors.Join(evil, hintError{errors.New("b"), "c\r"}))
	tell(&out, fmt.Errorf("x: %w", errors.Join(evil, evil)))
	const want = "dictwire: \\a a\\n\\x1b[2J 7\n" +
		"dictwire: a\\n\\x1b[2J\ndictwire: b\nhint: c\\r\n" +
		"dictwire: x: dictwire: a\\n\\x1b[2J\\ndictwire: a\\n\\x1b[2J\n"
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
}

// The nearest flag is similar to the word, or begins with it.
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
