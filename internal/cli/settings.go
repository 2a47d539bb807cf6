package cli

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variable returns the environment variable of a flag: DICTWIRE_MAX_MEMORY for
// --max-memory.
func variable(flag *pflag.Flag) string {
	return "DICTWIRE_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

// fromEnvironment sets the flags that the command line does not.
func fromEnvironment(cmd *cobra.Command) error {
	var failed error
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		value, ok := os.LookupEnv(variable(f))
		if !ok || f.Changed || f.Name == "help" || failed != nil {
			return
		}
		if err := f.Value.Set(value); err != nil {
			failed = usagef("invalid value %q of %s: %w", value, variable(f), err)
			return
		}
		f.Changed = true
		if f.Annotations == nil {
			f.Annotations = make(map[string][]string)
		}
		f.Annotations[fromAnnotation] = []string{variable(f)}
	})
	return failed
}

// fromAnnotation is where fromEnvironment notes what a flag was set by.
const fromAnnotation = "dictwire_from"

func configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config [COMMAND]",
		Short: "Print each setting, its value and where it comes from",
		Long: "config prints each setting of a command, or of all, with its value and where that\n" +
			"comes from: the environment or the default. A flag stands above both.",
		Example: "  dictwire config\n  DICTWIRE_MAX_MEMORY=1GiB dictwire config serve",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			found := false
			for _, c := range below(cmd.Root()) {
				name := strings.TrimPrefix(c.CommandPath(), cmd.Root().Name()+" ")
				if c == cmd || len(args) > 0 && name != strings.Join(args, " ") || !hasSettings(c) {
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
					from := "default"
					if by := f.Annotations[fromAnnotation]; len(by) > 0 {
						from = by[0]
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s --%s=%s  (%s)\n", name, f.Name, f.Value, from)
				})
			}
			if !found {
				return usagef("no command %q with settings", strings.Join(args, " "))
			}
			return nil
		},
	}
}

// hasSettings reports whether a command has flags that say what it does.
func hasSettings(cmd *cobra.Command) (has bool) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { has = has || f.Name != "help" })
	return has && !cmd.HasSubCommands()
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
