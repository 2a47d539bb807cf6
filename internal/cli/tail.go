package cli

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/internal/terminal"
)

// A tail is the command tail with its flags.
type tail struct {
	formatFlags
	connectFlags

	topics      []string
	from, to    pointFlag
	number      int
	cursor      string
	noFollow    bool
	filter      filter
	raw         bool
	pretty      bool
	columns     []string
	reverse     bool
	print       choice
	envelope    bool
	timeKey     string
	exact       bool
	exec        string
	format      choice
	attempts    int
	maxRejected limit

	stdout    *terminal.Output
	stderr    io.Writer
	began     time.Time
	rendering rendering
	failed    bool // something could not be read or printed
}

func tailCommand() *cobra.Command {
	t := new(tail)
	cmd := &cobra.Command{
		Use:   "tail [ADDR]",
		Short: "Print what a server has stored, and what comes",
		Long: "tail reads the records of a server, from the first on or from where --from says, prints\n" +
			"each on standard output, and waits for more. What was trimmed or is damaged is said on\n" +
			"standard error. The first SIGINT or SIGTERM ends it, the second at once.\n\n" +
			"--from and --to take a time of RFC 3339; a date or a local time, as 2026-11-23 or\n" +
			"'2026-11-23 10:00'; yesterday, today; an age, as 10m, 7d, 1w; a position; earliest or\n" +
			"latest. -n N begins with the newest N records; with --from or --cursor it ends after N.\n\n" +
			"With --cursor the server keeps how far it has come: run again, it goes on after what\n" +
			"was printed. What was printed just before a kill may be printed again. Of two that use\n" +
			"one cursor, the newer goes on, and the older ends.\n\n" +
			"What JSON lacks is written as docs/formats.md says: a datetime as an ISO string, a set or\n" +
			"tuple as a list, bytes in base64, a Decimal as a string, keys as strings. Where that\n" +
			"loses something, as NaN that becomes null, --envelope names it, and a line at the end\n" +
			"counts it. --exact writes no substitute and ends at the record.\n\n" +
			"On a terminal, each record stands after the time at which it came and its topic, and JSON\n" +
			"is coloured; in a pipe it is one line of JSON. --reverse prints the newest first.\n\n" +
			"--filter is an expression of the language jq. It sees a dictionary as JSON has it. A\n" +
			"dictionary that it selects is printed as it was stored, with all its kinds; one that it\n" +
			"makes anew has JSON's kinds, its keys in the order of their names; any other value is\n" +
			"printed as JSON, or with -r, if it is a string, as it is.\n\n" +
			"--exec gives the records to a command instead, some at a time, as lines of JSON on its\n" +
			"standard input, and moves the cursor when it exits with 0. Otherwise it is run again,\n" +
			"ever later, and after --attempts failures with halves of the records, until the one that\n" +
			"fails stands alone: that is kept in _rejected, and the others go on. A command that exits\n" +
			"with 75 is run again until it succeeds. One that can't be run (126, 127), and one that\n" +
			"fails with more than --max-rejected records in a row, ends tail, and the cursor stays. It\n" +
			"finds the number of its records in $DICTWIRE_RECORDS, and the position of the first in\n" +
			"$DICTWIRE_FIRST. A kill between its end and the move of the cursor delivers again:\n" +
			"docs/guide/tail-exec.md shows how positions make it exact.",
		Example: "  dictwire tail\n" +
			"  dictwire tail -n 10\n" +
			"  dictwire tail -r -n 100 --pretty\n" +
			"  dictwire tail --topic people --columns name,age\n" +
			"  dictwire tail 127.0.0.1:65432 --topic 'orders.*' --from 10m --print python\n" +
			"  dictwire tail --no-follow --from yesterday --to today\n" +
			"  dictwire tail --no-follow --filter 'select(.age > 30) | .name' --raw\n" +
			"  dictwire tail --topic orders --cursor billing\n" +
			"  dictwire tail --topic orders --cursor db --envelope --exec 'python3 insert.py'",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return t.run(cmd, args) },
	}
	flags := cmd.Flags()
	t.add(flags)
	addTopics(flags, &t.topics)
	flags.Var(&t.from, "from", "where to begin, if no cursor says it: "+point.Help+" (default earliest)")
	flags.Var(&t.to, "to", "where to end")
	flags.IntVarP(&t.number, "number", "n", 0, "begin with the newest `N` records; with --from or --cursor, end after N")
	flags.StringVar(&t.cursor, "cursor", "", "`name` under which the server keeps how far this has come")
	flags.BoolVar(&t.noFollow, "no-follow", false, "end when all that is stored is printed")
	flags.Var(&t.filter, "filter", "print what this `expression` of jq makes of each dictionary")
	flags.BoolVar(&t.raw, "raw", false, "print strings that --filter makes without quotes")
	flags.BoolVarP(&t.reverse, "reverse", "r", false, "print the newest first, and end at the oldest")
	flags.BoolVar(&t.pretty, "pretty", false, "print JSON over several lines")
	flags.StringSliceVar(&t.columns, "columns", nil, "print these `keys` alone, as name,address.city: a table on a terminal, else with tabs between")
	t.print = choice{"json", slices.Sorted(maps.Keys(t.codecs()))}
	flags.Var(&t.print, "print", "what is printed: one of "+names(t.codecs()))
	flags.BoolVar(&t.envelope, "envelope", false, "print position, topic, producer, number and time around each record")
	flags.StringVar(&t.timeKey, "time-key", "", "write the time that came beside a record, as Fluent Forward has it, into the record under this `key`, unless it is there")
	flags.BoolVar(&t.exact, "exact", false, "end at a record that the format can't hold, in place of writing a substitute")
	flags.StringVar(&t.exec, "exec", "", "give the records to this `command`, with a cursor")
	t.format = choice{"json", t.print.of}
	flags.Var(&t.format, "format", "what the command of --exec is given: one of "+names(t.codecs()))
	flags.IntVar(&t.attempts, "attempts", 10, "how often the command of --exec may fail before its records are halved")
	t.maxRejected = 10
	flags.Var(&t.maxRejected, "max-rejected", "with how many records in a row the command of --exec may fail before tail ends, -1 for no limit")
	t.addLossy(flags)
	t.addPython(flags)
	return cmd
}

// check checks the command line, and returns the output format.
func (t *tail) check(cmd *cobra.Command, args []string) (format string, err error) {
	args, err = t.arguments(cmd, args)
	if err != nil {
		return "", err
	}
	if len(args) > 0 {
		err := usagef("want an address, host:port or unix:PATH, got %q", args[0])
		if len(args) == 1 && checkPatterns(args) == nil {
			err = hintError{err, "--topic " + args[0] + " reads a topic"}
		}
		return "", err
	}
	if err := checkPatterns(t.topics); err != nil {
		return "", err
	}
	switch {
	case given(cmd, "number") && t.number < 1:
		return "", usagef("--number wants a number from 1 on")
	case t.exact && t.lossy:
		return "", usagef("--exact and --lossy exclude each other")
	case t.raw && t.filter.expr == nil:
		return "", usagef("--raw is about the strings that --filter makes")
	case t.reverse && (t.exec != "" || t.cursor != ""):
		return "", usagef("--reverse excludes --exec and --cursor, which go forward")
	case len(t.columns) > 0 && (t.exec != "" || t.envelope || t.pretty || t.raw || given(cmd, "print")):
		return "", usagef("--columns says what is printed, and excludes --print, --pretty, --raw, --envelope and --exec")
	case t.pretty && (t.exec != "" || t.print.value != "json"):
		return "", usagef("--pretty is about JSON that is printed")
	case t.exec == "" && (given(cmd, "format") || given(cmd, "attempts") || given(cmd, "max-rejected")):
		return "", usagef("--format, --attempts and --max-rejected are about the command of --exec; --print says what is printed")
	case t.exec == "":
		return t.print.value, nil
	case given(cmd, "print"):
		return "", usagef("--exec prints nothing; --format says what its command is given")
	case t.cursor == "":
		return "", usagef("--exec wants a --cursor, which says what the command has taken")
	case t.attempts < 1:
		return "", usagef("--attempts wants a number from 1 on")
	}
	return t.format.value, checkCommand(cmd.Context(), t.exec)
}

func (t *tail) run(cmd *cobra.Command, args []string) error {
	t.stdout, t.stderr = outputOf(cmd), cmd.ErrOrStderr()
	format, err := t.check(cmd, args)
	if err != nil {
		return err
	}
	t.rendering, t.began = t.renderingIn(format), time.Now()
	if t.exec == "" {
		t.look(format)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	server := t.present(cmd.Context(), !t.noFollow && !t.reverse, t.stderr)
	defer server.close()
	dialing, dialed := signal.NotifyContext(server.ctx, syscall.SIGINT, syscall.SIGTERM)
	c, err := t.reader(dialing, cmd, server)
	stopped := dialing.Err() != nil && server.ctx.Err() == nil
	dialed()
	if err != nil {
		if stopped { // nothing was started
			return nil
		}
		return server.cause(err)
	}
	defer c.Close()
	if err = t.work(cmd.Context(), c, server, signals); err == nil && t.failed {
		err = exitError(exitFailure)
	}
	return err
}

// look decides how the output looks.
func (t *tail) look(format string) {
	if t.rendering.columns = newColumns(t.stdout, t.columns); t.rendering.columns != nil {
		return
	}
	t.rendering.dress = dressed(t.stdout, format, t.pretty)
	if d := t.rendering.dress; d != nil && (t.envelope || t.raw) { // the envelope has time and topic; raw output is unchanged
		d.beside = false
	}
}

// work reads until the end or a signal.
func (t *tail) work(ctx context.Context, c *dictwire.Client, server *presence, signals <-chan os.Signal) (err error) {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	out := t.sink(ctx)
	done := make(chan error, 1)
	go func() { done <- t.read(server.ctx, c, out) }()
	read := false
	select {
	case err = <-done:
		read = true
	case <-signals:
	}
	stopped := out.stop()
	ended := ending(stopped, signals, t.stderr, out.waits())
	if errors.As(ended, new(exitError)) {
		kill()
		_ = <-stopped //nolint:staticcheck // what is dropped is an error, which says that it was killed
		return ended
	}
	if !read {
		server.close()
		if err = <-done; errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	if errors.Is(err, errStopped) { // ended has the cause
		err = nil
	}
	t.rendering.summary(t.stderr)
	return errors.Join(server.cause(err), ended)
}

// sink returns the sink for the records.
func (t *tail) sink(ctx context.Context) sink {
	if t.exec == "" {
		var out io.Writer = t.stdout
		if t.rendering.dress != nil || t.rendering.columns != nil {
			out = t.stdout.Raw()
		}
		return newPrinting(ctx, out, t.cursor != "")
	}
	e := &executor{
		command: t.exec, attempts: t.attempts, maxRejected: int(t.maxRejected),
		stdout: t.stdout.Raw(), stderr: t.stderr, addr: t.addr, identity: &t.identityFlags,
	}
	e.start(ctx)
	return e
}

// tell prints an error that makes the exit code 1.
func (t *tail) tell(err error) {
	t.failed = true
	tell(t.stderr, err)
}

// request returns what to read.
func (t *tail) request() dictwire.SubscribeRequest {
	return dictwire.SubscribeRequest{
		Reuse:  true,
		Topics: t.topics, Cursor: t.cursor, From: t.from.from(),
		Follow: !t.noFollow && !t.reverse && (t.to.text == "" || !t.to.Past(t.began)),
	}
}
