package cli

import (
	"errors"
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
	"tail --columns": true, // for people; of convert they are CSV's
}

// settle sets the flags that the command line does not, by the environment and a file.
func settle(cmd *cobra.Command) error {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = make(map[string][]string)
		}
		f.Annotations[givenAnnotation] = []string{f.Value.String()}
	})
	if err := fromEnvironment(cmd); err != nil {
		return err
	}
	return fromFile(cmd)
}

// fromEnvironment sets the flags that the command line does not. An empty
// variable is like none.
func fromEnvironment(cmd *cobra.Command) error {
	var failed error
	fromVariable := func(f *pflag.Flag) {
		name := variable(cmd, f)
		value := os.Getenv(name)
		if value == "" || f.Changed || f.Name == "help" || failed != nil {
			return
		}
		if err := f.Value.Set(value); err != nil {
			failed = usagef("invalid value %q of %s: %w", value, name, wanted(f, err))
			return
		}
		setFrom(f, name)
	}
	cmd.LocalFlags().VisitAll(fromVariable)
	cmd.InheritedFlags().VisitAll(fromVariable)
	return failed
}

// setFrom notes what a flag was set by.
func setFrom(f *pflag.Flag, by string) {
	f.Changed = true
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[fromAnnotation] = append(f.Annotations[fromAnnotation], by)
}

// fromAnnotation is where setFrom notes what a flag was set by.
const fromAnnotation = "dictwire_from"

// givenAnnotation is where settle notes what the command line has set a flag to.
const givenAnnotation = "dictwire_given"

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
func nearestFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return nearest(name, names)
}

// nearest returns which of some names is the most like another one.
func nearest(name string, names []string) (like string) {
	if len(name) > 100 { // as long as no name is
		return ""
	}
	least := len(name)/3 + 2 // changes are too many
	for _, other := range names {
		n := changes(name, other)
		if len(name) > 1 && strings.HasPrefix(other, name) {
			n = 0
		}
		if n < least {
			least, like = n, other
		}
	}
	return like
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

// hasSettings reports whether a command has flags that say how it works.
func hasSettings(cmd *cobra.Command) (has bool) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { has = has || f.Name != "help" })
	return has && (!cmd.HasParent() || cmd.Parent().Name() != "completion")
}
