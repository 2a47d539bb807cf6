package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The types of flag values.

// A byteSize is a number of bytes: 1048576, 64KB, 32MiB.
type byteSize int64

var units = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
	{"", 1},
}

// Set parses a size.
func (b *byteSize) Set(s string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		n *= u.factor
		if err != nil || n != math.Trunc(n) || math.Abs(n) >= 1<<62 {
			break
		}
		*b = byteSize(n)
		return nil
	}
	return fmt.Errorf("want a number of bytes, as in 1048576, 64KB or 32MiB")
}

// String writes a size in the largest unit that holds it exactly.
func (b *byteSize) String() string {
	for _, u := range []int{2, 1, 0} {
		if factor := int64(units[u].factor); int64(*b) >= factor && int64(*b)%factor == 0 {
			return strconv.FormatInt(int64(*b)/factor, 10) + units[u].suffix
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type names the value in help texts.
func (*byteSize) Type() string { return "bytes" }

// A limit is a number, or -1 for no limit. Zero is refused, since it would mean the
// library's default.
type limit int

// Set parses a number.
func (l *limit) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < -1 || n == 0 {
		return errors.New("want a number from 1 on, or -1 for no limit")
	}
	*l = limit(n)
	return nil
}

func (l *limit) String() string { return strconv.Itoa(int(*l)) }

// Type names the value in help texts.
func (*limit) Type() string { return "int" }

// A places is a number of what may run at once, which may be none.
type places int

// Set parses a number.
func (p *places) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return errors.New("want a number, or 0 for none")
	}
	*p = places(n)
	return nil
}

func (p *places) String() string { return strconv.Itoa(int(*p)) }

// Type names the value in help texts.
func (*places) Type() string { return "int" }

// A byteLimit is a limit in bytes.
type byteLimit struct{ byteSize }

// Set parses a size.
func (l *byteLimit) Set(s string) error {
	var n byteSize
	if err := n.Set(s); err != nil || n < -1 || n == 0 {
		return errors.New("want a number of bytes, as in 1048576, 64KB or 32MiB, or -1 for no limit")
	}
	l.byteSize = n
	return nil
}

// A timeLimit is a limit of time.
type timeLimit time.Duration

// Set parses a duration.
func (l *timeLimit) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 && d != -time.Second || d == 0 {
		return errors.New("want a duration, as in 500ms, 90s or 1h30m, or -1s for no limit")
	}
	*l = timeLimit(d)
	return nil
}

func (l *timeLimit) String() string { return time.Duration(*l).String() }

// Type names the value in help texts.
func (*timeLimit) Type() string { return "duration" }

// A waitTime is a duration that is not negative.
type waitTime time.Duration

// Set parses a duration.
func (w *waitTime) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return errors.New("want a duration, as in 500ms, 90s or 1h30m")
	}
	*w = waitTime(d)
	return nil
}

func (w *waitTime) String() string { return time.Duration(*w).String() }

// Type names the value in help texts.
func (*waitTime) Type() string { return "duration" }

// A choice is one of a few words.
type choice struct {
	value string
	of    []string
}

// Set takes one of the words.
func (c *choice) Set(s string) error {
	for _, word := range c.of {
		if s == word {
			c.value = s
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(c.of, ", "))
}

func (c *choice) String() string { return c.value }

// Type names the value in help texts.
func (c *choice) Type() string { return strings.Join(c.of, "|") }
