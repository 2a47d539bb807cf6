package cli

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variable returns the environment variable of a command's flag, such as
// DICTWIRE_MAX_MEMORY for --max-memory of serve. For a flag whose meaning differs between
// commands, it includes the command's name: DICTWIRE_TAIL_FROM.
func variable(cmd *cobra.Command, flag *pflag.Flag) string {
	words := []string{cmd.Root().Name(), flag.Name}
	if ownMeaning[flag.Name] || ownFlags[cmd.Name()+" --"+flag.Name] {
		words[0] = cmd.CommandPath()
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(strings.Join(words, " ")))
}

// ownMeaning are flags whose meaning differs between commands. A test checks that no
// other flag's does.
var ownMeaning = map[string]bool{"format": true, "from": true, "print": true, "reply": true, "to": true, "topic": true}

// ownFlags are further flags with another meaning in one command. The store of relay is
// not that of serve, since relay deletes what it has relayed.
var ownFlags = map[string]bool{
	"relay --store": true, "create --name": true, "create --principal": true,
	"cert --expires": true, // the default of a certificate differs from a token's
	"tail --columns": true, // convert's are for CSV
}

// settle sets the flags that are not on the command line, from the environment and a
// file.
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

// fromEnvironment sets the flags that are not on the command line. An empty variable
// counts as unset.
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

// setFrom notes where the value of a flag comes from.
func setFrom(f *pflag.Flag, by string) {
	f.Changed = true
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[fromAnnotation] = append(f.Annotations[fromAnnotation], by)
}

// fromAnnotation is where setFrom keeps that.
const fromAnnotation = "dictwire_from"

// givenAnnotation is where settle keeps a flag's value from the command line.
const givenAnnotation = "dictwire_given"

// give sets a flag to its argument on the command line.
func give(cmd *cobra.Command, name, value string) error {
	f := cmd.Flags().Lookup(name)
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[givenAnnotation] = []string{value}
	return f.Value.Set(value)
}

// given reports whether a flag is on the command line.
func given(cmd *cobra.Command, name string) bool {
	f := cmd.Flag(name)
	return f.Changed && len(f.Annotations[fromAnnotation]) == 0
}

// checkNotEmpty refuses empty values, as in --cursor "$CURSOR" with an unset variable:
// the flag would have no effect.
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

// flagError returns the error for a wrong command line.
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

// nearestFlag returns the most similar flag of a command: one that begins with name, or
// differs by a few letters. It returns "" if there is none.
func nearestFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return nearest(name, names)
}

// nearest returns the most similar of some names.
func nearest(name string, names []string) (like string) {
	if len(name) > 100 { // longer than any name
		return ""
	}
	least := len(name)/3 + 2 // this many changes are too many
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

// changes returns how many letters must be inserted, deleted or replaced to turn one word
// into another (the Levenshtein distance).
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

// wanted returns the error of a flag's value, in plain words instead of Go's.
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

// quietUsage documents --quiet.
const quietUsage = "say nothing but what goes wrong"

// hasSettings reports whether a command has flags for settings.
func hasSettings(cmd *cobra.Command) (has bool) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { has = has || f.Name != "help" })
	return has && (!cmd.HasParent() || cmd.Parent().Name() != "completion")
}
