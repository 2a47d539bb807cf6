package cli

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variable returns the environment variable of a command's flag:
// DICTWIRE_MAX_MEMORY for --max-memory of serve. A flag that means something
// else in another command has the command's name in it: DICTWIRE_TAIL_FROM.
func variable(cmd *cobra.Command, flag *pflag.Flag) string {
	words := []string{cmd.Root().Name(), flag.Name}
	if ownMeaning[flag.Name] || cmd.Name() == "relay" && flag.Name == "store" {
		words[0] = cmd.CommandPath()
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(strings.Join(words, " ")))
}

// ownMeaning are the flags that several commands have, with a meaning in each.
// That others mean the same everywhere is a test. The store of relay is another
// one than that of serve: what it has passed on, it deletes.
var ownMeaning = map[string]bool{"format": true, "from": true, "print": true, "reply": true, "to": true, "topic": true}

// fromEnvironment sets the flags that the command line does not. An empty
// variable is like none.
func fromEnvironment(cmd *cobra.Command) error {
	var failed error
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		name := variable(cmd, f)
		value := os.Getenv(name)
		if value == "" || f.Changed || f.Name == "help" || failed != nil {
			return
		}
		if err := f.Value.Set(value); err != nil {
			failed = usagef("invalid value %q of %s: %w", value, name, wanted(f, err))
			return
		}
		f.Changed = true
		if f.Annotations == nil {
			f.Annotations = make(map[string][]string)
		}
		f.Annotations[fromAnnotation] = []string{name}
	})
	return failed
}

// fromAnnotation is where fromEnvironment notes what a flag was set by.
const fromAnnotation = "dictwire_from"

// given reports whether the command line has a flag.
func given(cmd *cobra.Command, name string) bool {
	f := cmd.Flag(name)
	return f.Changed && len(f.Annotations[fromAnnotation]) == 0
}

// checkNotEmpty refuses flags like --cursor "$CURSOR" where the variable of the
// shell is not set: it would be as if they had not been given.
func checkNotEmpty(cmd *cobra.Command) error {
	var failed error
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Value.Type() == "string" && f.Value.String() == "" && failed == nil {
			what, _ := pflag.UnquoteUsage(f)
			failed = usagef("--%s wants a %s, got an empty one", f.Name, what)
		}
	})
	return failed
}

// flagError makes the error of a wrong command line.
func flagError(_ *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		return usagef("invalid argument %q for \"--%s\" flag: %w", invalid.GetValue(), f.Name, wanted(f, invalid.Unwrap()))
	}
	return usageError{err}
}

// wanted is the error of a flag's value, in words where it is in Go's.
func wanted(f *pflag.Flag, err error) error {
	switch {
	case !errors.As(err, new(*strconv.NumError)):
		return err
	case f.Value.Type() == "bool":
		return errors.New("want true or false")
	default:
		return errors.New("want a whole number")
	}
}

func configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config [COMMAND]",
		Short: "Print each setting, its value and where it comes from",
		Long: "config prints each setting of a command, or of all, with its value and where that\n" +
			"comes from: the environment or the default, with the variable that would change it. A\n" +
			"flag stands above both.\n\n" +
			"The variable is named after the flag, DICTWIRE_MAX_MEMORY for --max-memory. Where a flag\n" +
			"means something else in another command, the command stands in it: DICTWIRE_TAIL_FROM.\n" +
			"Without COMMAND, variables that begin with DICTWIRE and set nothing are named, too.",
		Example: "  dictwire config\n  DICTWIRE_MAX_MEMORY=1GiB dictwire config serve",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			found := false
			known := map[string]bool{"DICTWIRE_RECORDS": true, "DICTWIRE_FIRST": true} // of tail --exec
			out := bufio.NewWriter(cmd.OutOrStdout())
			for _, c := range below(cmd.Root()) {
				name := strings.TrimPrefix(c.CommandPath(), cmd.Root().Name()+" ")
				if len(args) > 0 && name != strings.Join(args, " ") || !hasSettings(c) {
					continue
				}
				found = true
				if err := fromEnvironment(c); err != nil {
					return err
				}
				c.LocalFlags().VisitAll(func(f *pflag.Flag) {
					if f.Name == "help" {
						return
					}
					from := variable(c, f)
					known[from] = true
					if len(f.Annotations[fromAnnotation]) == 0 {
						from = "default; " + from
					}
					fmt.Fprintf(out, "%s --%s=%s  (%s)\n", name, f.Name, f.Value, from)
				})
			}
			if !found {
				return usagef("no command %q with settings", strings.Join(args, " "))
			}
			if err := out.Flush(); err != nil || len(args) > 0 {
				return err
			}
			for _, set := range os.Environ() {
				if name, _, _ := strings.Cut(set, "="); strings.HasPrefix(name, "DICTWIRE_") && !known[name] {
					fmt.Fprintf(cmd.ErrOrStderr(), "dictwire: %s sets nothing\n", name)
				}
			}
			return nil
		},
	}
}

// hasSettings reports whether a command has flags that say how it works.
func hasSettings(cmd *cobra.Command) (has bool) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { has = has || f.Name != "help" })
	return has && cmd.Parent().Name() != "completion"
}

// A byteSize is a flag's value in bytes: 1048576, 64KB, 32MiB.
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

// A limit is a flag's value that is a number, or -1 for none. Zero, which would
// be the library's word for the default, is neither.
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

// A byteLimit is the same in bytes.
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

// A timeLimit is the same of time.
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

// A waitTime is a flag's value that is a duration from nothing on.
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

// A choice is a flag's value that is one of a few words.
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
