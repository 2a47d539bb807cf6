package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/point"
)

// A tail is the command tail with its flags.
type tail struct {
	formatFlags
	connectFlags

	topics   []string
	from     pointFlag
	cursor   string
	noFollow bool
	filter   filter
	print    choice
	envelope bool
	exec     string
	format   choice
	attempts int

	stdout, stderr io.Writer
	appender       appender
	line           []byte
	failed         bool // something could not be read or printed
	commits        *commits
	executor       *executor // nil: records are printed

	busy     sync.Mutex // held while a batch is worked on
	stopping bool       // guarded by busy: no other one is begun
}

func tailCommand() *cobra.Command {
	t := new(tail)
	cmd := &cobra.Command{
		Use:   "tail [ADDR]",
		Short: "Print what a server has stored, and what comes",
		Long: "tail reads the records of a server, from the first on or from where --from says, prints\n" +
			"each on standard output, and waits for more. What was trimmed or is damaged is said on\n" +
			"standard error. The first SIGINT or SIGTERM ends it, the second at once.\n\n" +
			"With --cursor the server keeps how far it has come: run again, it goes on behind what\n" +
			"was printed. What was printed just before a kill may be printed again. Of two that use\n" +
			"one cursor, the newer goes on, and the older ends.\n\n" +
			"--filter is an expression of the language jq. It sees a dictionary as JSON has it; what\n" +
			"JSON lacks, it sees as --lossy writes it (docs/formats.md): a datetime as an ISO string,\n" +
			"a set or tuple as a list, bytes in base64, a Decimal as a string, keys as strings. A\n" +
			"dictionary that it selects is printed as it was stored, with all its kinds; one that it\n" +
			"makes anew has JSON's kinds, its keys in the order of their names; any other value is\n" +
			"printed as JSON.\n\n" +
			"--exec gives the records to a command instead, some at a time, as lines of JSON on its\n" +
			"standard input, and moves the cursor when it exits with 0. Otherwise it is run again,\n" +
			"ever later, and after --attempts failures with halves of the records, until the one that\n" +
			"fails stands alone: that is kept in _rejected, and the others go on. A command that exits\n" +
			"with 75 is run again until it succeeds. It finds the number of its records in\n" +
			"$DICTWIRE_RECORDS, and the position of the first in $DICTWIRE_FIRST. A kill between its\n" +
			"end and the move of the cursor delivers again: docs/guide/tail-exec.md shows how positions\n" +
			"make it exact.",
		Example: "  dictwire tail\n" +
			"  dictwire tail 127.0.0.1:65432 --topic 'orders.*' --from 10m --print python\n" +
			"  dictwire tail --no-follow --filter 'select(.age > 30) | {name}'\n" +
			"  dictwire tail --topic orders --cursor billing\n" +
			"  dictwire tail --topic orders --cursor db --envelope --exec 'python3 insert.py'",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return t.run(cmd, args) },
	}
	flags := cmd.Flags()
	t.add(flags)
	addTopics(flags, &t.topics)
	flags.Var(&t.from, "from", "where to begin, if no cursor says it: "+point.Help+" (default earliest)")
	flags.StringVar(&t.cursor, "cursor", "", "`name` under which the server keeps how far this has come")
	flags.BoolVar(&t.noFollow, "no-follow", false, "end when all that is stored is printed")
	flags.Var(&t.filter, "filter", "print what this `expression` of jq makes of each dictionary")
	t.print = choice{"json", slices.Sorted(maps.Keys(t.codecs()))}
	flags.Var(&t.print, "print", "what is printed: one of "+names(t.codecs()))
	flags.BoolVar(&t.envelope, "envelope", false, "print position, topic, producer, number and time around each record")
	flags.StringVar(&t.exec, "exec", "", "give the records to this `command`, with a cursor")
	t.format = choice{"json", t.print.of}
	flags.Var(&t.format, "format", "what the command of --exec is given: one of "+names(t.codecs()))
	flags.IntVar(&t.attempts, "attempts", 10, "how often the command of --exec may fail before its records are halved")
	t.addLossy(flags)
	t.addPython(flags)
	return cmd
}

func (t *tail) run(cmd *cobra.Command, args []string) error {
	t.stdout, t.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if args = t.argument(args); len(args) > 0 {
		return usagef("want an address, host:port or unix:PATH, got %q", args[0])
	}
	if err := checkPatterns(t.topics); err != nil {
		return err
	}
	format := t.print.value
	switch {
	case t.exec == "" && (given(cmd, "format") || given(cmd, "attempts")):
		return usagef("--format and --attempts are about the command of --exec; --print says what is printed")
	case t.exec == "":
	case given(cmd, "print"):
		return usagef("--exec prints nothing; --format says what its command is given")
	case t.cursor == "":
		return usagef("--exec wants a --cursor, which says what the command has taken")
	case t.attempts < 1:
		return usagef("--attempts wants a number from 1 on")
	default:
		format = t.format.value
	}
	t.appender = t.appenders()[format]
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	dialing, dialed := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	c, err := t.reader(dialing, cmd)
	stopped := dialing.Err() != nil
	dialed()
	if err != nil {
		if stopped && cmd.Context().Err() == nil { // nothing was begun
			return nil
		}
		return err
	}
	defer c.Close()
	t.commits = newCommits(ctx)
	if t.exec != "" {
		t.executor = &executor{command: t.exec, attempts: t.attempts, stdout: t.stdout, stderr: t.stderr, addr: t.addr}
		t.executor.start(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- t.read(ctx, c) }()
	select {
	case err = <-done:
	case <-signals:
		stopped := make(chan struct{})
		go func() {
			t.stop()
			close(stopped)
		}()
		select {
		case <-stopped:
		case <-signals:
			cancel()
			return exitError(exitInterrupted)
		}
		cancel()
		if err = <-done; errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	t.commits.end()
	if t.executor != nil {
		cancel()
		<-t.executor.ended
		if ended := t.executor.err; err == nil && !errors.Is(ended, context.Canceled) {
			err = ended
		}
	}
	if err == nil && t.failed {
		err = exitError(exitFailure)
	}
	return err
}

// stop waits until the batch that is worked on is done, lets none begin after
// it, and commits.
func (t *tail) stop() {
	if t.executor != nil {
		<-t.executor.stop()
		return
	}
	t.busy.Lock()
	t.stopping = true
	t.busy.Unlock()
	select {
	case <-t.commits.end():
	case <-time.After(5 * time.Second): // the server is away
	}
}

// request says what is read.
func (t *tail) request() dictwire.SubscribeRequest {
	return dictwire.SubscribeRequest{Topics: t.topics, Cursor: t.cursor, From: t.from.text, Follow: !t.noFollow}
}

// read prints what the server has, and what comes until ctx ends.
func (t *tail) read(ctx context.Context, c *dictwire.Client) error {
	for b, err := range c.Subscribe(ctx, t.request()) {
		if b == nil {
			return err
		}
		if err := t.batch(ctx, b, err); err != nil {
			return err
		}
		if err := t.commits.failed(); err != nil {
			return err
		}
	}
	return nil
}

// batch prints a batch.
func (t *tail) batch(ctx context.Context, b *dictwire.Batch, err error) error {
	t.busy.Lock()
	defer t.busy.Unlock()
	if t.stopping {
		return context.Canceled
	}
	if err != nil { // what was skipped, or is damaged
		t.tell(err)
	}
	if t.executor != nil {
		return t.executor.put(ctx, t.parcel(ctx, b), t.noFollow && b.Len() == 0)
	}
	t.line = t.line[:0]
	for i := range b.Len() {
		if err := t.record(ctx, b, i); err != nil {
			t.tell(fmt.Errorf("%s in %s: %w", b.Position(i), b.Topic, instead(err, "--print python")))
		}
	}
	if len(t.line) > 0 {
		if _, err := t.stdout.Write(t.line); err != nil {
			return err
		}
	}
	switch {
	case t.cursor == "":
	case t.noFollow && b.Len() == 0: // it may be the end
		return b.Commit(ctx)
	default:
		t.commits.put(b)
	}
	return nil
}

func (t *tail) tell(err error) {
	t.failed = true
	tell(t.stderr, err)
}

// parcel returns what the command gets of a batch.
func (t *tail) parcel(ctx context.Context, b *dictwire.Batch) *parcel {
	p := &parcel{batch: b}
	for i := range b.Len() {
		t.line = t.line[:0]
		err := t.record(ctx, b, i)
		if err == nil && len(t.line) == 0 { // not selected
			continue
		}
		p.deliveries = append(p.deliveries, delivery{
			record: bytes.Clone(b.Records[i]), format: b.Codec.Name(), topic: b.Topic, producer: b.Producer, number: b.First + uint64(i),
			position: b.Position(i), line: slices.Clone(t.line), err: err,
		})
		p.bytes += len(t.line)
	}
	return p
}

// record appends what is printed of a record to t.line.
func (t *tail) record(ctx context.Context, b *dictwire.Batch, i int) error {
	d, err := b.Dict(i)
	if err != nil {
		return err
	}
	for v, err := range t.filter.run(ctx, d) {
		if err != nil {
			return err
		}
		if d, ok := v.(*dict.Dict); ok {
			if t.envelope {
				d = enveloped(b, i, d)
			}
			line, err := t.appender(t.line, d)
			if err != nil {
				return err
			}
			t.line = line
			continue
		}
		text, err := gojq.Marshal(v)
		if err != nil {
			return err
		}
		t.line = append(append(t.line, text...), '\n')
	}
	return nil
}

// enveloped puts what is known of a record around it.
func enveloped(b *dictwire.Batch, i int, record *dict.Dict) *dict.Dict {
	d := dict.Of("position", b.Position(i), "topic", b.Topic)
	if b.Producer != "" {
		d.Set("producer", dict.String(b.Producer))
		d.Set("number", dict.Int(int64(b.First)+int64(i)))
	}
	d.Set("time", dict.String(b.Time.UTC().Format(time.RFC3339Nano)))
	d.Set("record", record.Value())
	return d
}
