// Package cli is the command line of dictwire, with one file for each command. Data goes
// to standard output, everything else to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/internal/terminal"
)

//go:generate go -C ../../tools run ./man ../docs/man

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // by a second SIGINT, as a shell reports it
)

// Run runs the command that args name and returns the exit code. When ctx ends, the
// command stops at once. SIGINT and SIGTERM make it finish in order.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := Root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(terminal.NewOutput(stdout))
	root.SetErr(stderr)
	return report(root.ExecuteContext(ctx), stderr)
}

// Root returns the command dictwire with all its subcommands.
func Root() *cobra.Command {
	color := choice{terminal.Auto, []string{terminal.Auto, terminal.Always, terminal.Never}}
	root := &cobra.Command{
		Use:   "dictwire",
		Short: "Send a dictionary from any program; it arrives whole",
		Long: "dictwire receives dictionaries from any program that can write to a socket, stores them,\n" +
			"prints them as Python does and gives them back; and it sends and converts them.",
		Example: "  dictwire serve\n" +
			"  dictwire send name=Alice age:=30 city=Paris\n" +
			"  dictwire tail --from 1h\n" +
			"  echo '{\"name\": \"Alice\"}' | nc -N 127.0.0.1 65432",
		SilenceErrors: true, // report prints them
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkNotEmpty(cmd); err != nil {
				return err
			}
			if err := settle(cmd); err != nil {
				return err
			}
			outputOf(cmd).SetColor(color.value)
			return nil
		},
	}
	root.PersistentFlags().Var(&color, "color", "when to use colours: auto, which is on a terminal unless NO_COLOR is set; always, as for a pager; or never")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.SetHelpFunc(help)
	root.AddCommand(serveCommand(), relayCommand(), sendCommand(), tailCommand(), rejectedCommand(), convertCommand(),
		pingCommand(), statusCommand(), benchCommand(), topicsCommand(), cursorsCommand(), producersCommand(),
		storeCommand(), cursorCommand(), tokenCommand(), certCommand(),
		configCommand(), versionCommand(), filterWorkerCommand())
	complete(root)
	for _, cmd := range below(root) {
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				err := check(cmd, args)
				if err == nil {
					return nil
				}
				if strings.HasPrefix(err.Error(), "accepts ") {
					err = fmt.Errorf("%w: %s", err, cmd.UseLine())
				}
				return usageError{err}
			}
		}
	}
	return root
}

// help prints the help text of a command, which begins with examples.
func help(cmd *cobra.Command, _ []string) {
	out, usage := cmd.OutOrStdout(), cmd.UsageString()
	fmt.Fprint(out, cmd.Short, "\n\n")
	if cmd.HasExample() {
		examples := "Examples:\n" + cmd.Example + "\n\n"
		usage = strings.Replace(usage, examples, "", 1)
		fmt.Fprint(out, examples)
	}
	if cmd.Long != "" {
		fmt.Fprint(out, cmd.Long, "\n\n")
	}
	fmt.Fprint(out, usage)
}

// helpCommand is cobra's, with another error for an unknown command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		Long: "Help provides help for any command in the application.\n" +
			"Simply type dictwire help [path to command] for full details.",
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			if of, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range of.Commands() {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("no command %q", strings.Join(args, " "))
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// below returns all subcommands of a command, in order of name.
func below(cmd *cobra.Command) (all []*cobra.Command) {
	for _, c := range cmd.Commands() {
		all = append(append(all, c), below(c)...)
	}
	return all
}

// A usageError is the caller's mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// A hintError is an error with a remedy.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

// An exitError ends the program with a code; everything has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// report prints an error and its hint, if there is one, and returns the exit code.
func report(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	tell(stderr, err)
	return exitCode(err)
}

// exitCode returns the exit code for an error.
func exitCode(err error) int {
	var usage usageError
	if errors.As(err, &usage) || isUnknownCommand(err) {
		return exitUsage
	}
	return exitFailure
}

// isUnknownCommand reports whether err is cobra's error for an unknown command, which has
// no type.
func isUnknownCommand(err error) bool {
	const prefix = "unknown command"
	text := err.Error()
	return len(text) >= len(prefix) && text[:len(prefix)] == prefix
}
