package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variable returns the environment variable of a command's flag:
// DICTWIRE_MAX_MEMORY for --max-memory of serve. A flag that means something
// else in another command has the command's name in it: DICTWIRE_TAIL_FROM.
func variable(cmd *cobra.Command, flag *pflag.Flag) string {
	words := []string{cmd.Root().Name(), flag.Name}
	if ownMeaning[flag.Name] || ownFlags[cmd.Name()+" --"+flag.Name] {
		words[0] = cmd.CommandPath()
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(strings.Join(words, " ")))
}

// ownMeaning are the flags that several commands have, with a meaning in each.
// That others mean the same everywhere is a test.
var ownMeaning = map[string]bool{"format": true, "from": true, "print": true, "reply": true, "to": true, "topic": true}

// ownFlags are other flags that mean something else in one command. The store of relay is
// another one than that of serve: what it has passed on, it deletes.
var ownFlags = map[string]bool{
	"relay --store": true, "create --name": true, "create --principal": true,
	"cert --expires": true, // a certificate's default is another one than a token's
}

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
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		return usagef("invalid argument %q for \"--%s\" flag: %w", invalid.GetValue(), f.Name, wanted(f, invalid.Unwrap()))
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if like := nearestFlag(cmd, unknown.GetSpecifiedName()); like != "" {
			return hintError{usageError{err}, "perhaps --" + like}
		}
	}
	return usageError{err}
}

// nearestFlag returns the flag of a command whose name is the most like another:
// one that begins so, or has a few letters changed. "" means that none is.
func nearestFlag(cmd *cobra.Command, name string) (nearest string) {
	least := len(name)/3 + 2 // changes are too many
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		n := changes(name, f.Name)
		if len(name) > 1 && strings.HasPrefix(f.Name, name) {
			n = 0
		}
		if n < least && !f.Hidden {
			least, nearest = n, f.Name
		}
	})
	return nearest
}

// changes returns how many letters must be put in, left out or exchanged to make
// one word of another (Levenshtein's distance).
func changes(from, to string) int {
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(from) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(to) {
			change := diagonal
			if from[i] != to[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(to)]
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

// quietUsage is what --quiet means.
const quietUsage = "say nothing but what goes wrong"

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
			known := map[string]bool{"DICTWIRE_RECORDS": true, "DICTWIRE_FIRST": true, tokenVariable: true} // of tail --exec; see identityFlags
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
					fmt.Fprintf(out, "%s --%s=%s  (%s)\n", name, f.Name, visible(f.Value.String()), from)
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
					say(cmd.ErrOrStderr(), "%s sets nothing", name)
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
