package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/store"
)

// A rejectedRecord is a record of the topic _rejected.
type rejectedRecord struct {
	position string
	time     time.Time
	dict     *dict.Dict
}

func (r *rejectedRecord) text(key string) string {
	v, _ := r.dict.Get(key)
	s, _ := v.Text()
	return s
}

func (r *rejectedRecord) number(key string) terminal.Quantity {
	v, ok := r.dict.Get(key)
	if n, isInt := v.Int(); ok && isInt {
		return terminal.Quantity(strconv.FormatInt(n, 10))
	}
	return "-"
}

func (r *rejectedRecord) bytes() []byte {
	v, _ := r.dict.Get("bytes")
	b, _ := v.Bytes()
	return b
}

// A rejectedReader reads a server's rejected records, for the commands rejected and
// rejected retry.
type rejectedReader struct {
	connectFlags

	from   pointFlag
	stderr io.Writer
	failed bool // something could not be read
	bare   int  // records kept without their bytes
}

// each calls do for each record, which is valid until do returns. Trimmed and damaged
// records are reported, and the others are read.
func (r *rejectedReader) each(cmd *cobra.Command, do func(context.Context, *rejectedRecord) error) error {
	r.stderr = cmd.ErrOrStderr()
	server := r.present(cmd.Context(), false, r.stderr)
	defer server.close()
	c, err := r.reader(server.ctx, cmd, server)
	if err != nil {
		return server.cause(err)
	}
	defer c.Close()
	req := dictwire.SubscribeRequest{Topics: []string{store.Rejected}, From: r.from.from(), Reuse: true}
	for b, err := range c.Subscribe(server.ctx, req) {
		if b == nil {
			return server.cause(err)
		}
		if err != nil { // records that were skipped or are damaged
			r.tell(err)
		}
		for i := range b.Records {
			record := b.Record(i)
			d, err := record.Dict()
			switch {
			case err == nil && d.Len() == 0:
				r.bare++
			case err == nil:
				err = do(server.ctx, &rejectedRecord{position: record.Position(), time: record.Time, dict: d})
			default:
				r.tell(fmt.Errorf("%s: %w", record.Position(), err))
				err = nil
			}
			if err != nil {
				return server.cause(err)
			}
		}
	}
	if r.bare > 0 {
		say(r.stderr, "and %s, of which no more is kept than that code and producer are those of the one before", count(int64(r.bare), "other record", "other records"))
	}
	return nil
}

// tell prints an error that makes the exit code 1.
func (r *rejectedReader) tell(err error) {
	r.failed = true
	tell(r.stderr, err)
}

// end returns the exit code after what was told.
func (r *rejectedReader) end() error {
	if r.failed {
		return exitError(exitFailure)
	}
	return nil
}

// A rejectedList is the command rejected with its flags.
type rejectedList struct {
	formatFlags
	rejectedReader
	jsonFlag

	print choice
}

func rejectedCommand() *cobra.Command {
	r := new(rejectedList)
	r.print = choice{"table", []string{"table"}}
	cmd := &cobra.Command{
		Use:   "rejected [ADDR]",
		Short: "List the records that a server has rejected",
		Long: "rejected lists the records that a server could not take: where they are kept, when they\n" +
			"came, for which topic, from whom, what is wrong, how large they are, and their first\n" +
			"bytes. --print prints all that is known of each, as tail does.",
		Example: "  dictwire rejected\n" +
			"  dictwire rejected 127.0.0.1:65432 --from 24h --print python",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd, args) },
	}
	for name := range r.codecs() {
		r.print.of = append(r.print.of, name)
	}
	slices.Sort(r.print.of)
	flags := cmd.Flags()
	r.add(flags)
	r.addJSON(flags)
	flags.Var(&r.from, "from", "where to begin: "+point.Help+" (default earliest)")
	flags.Var(&r.print, "print", "what is printed: table, for people, or one of "+names(r.codecs())+", for programs")
	r.addPython(flags)
	cmd.AddCommand(rejectedRetryCommand())
	return cmd
}

func (r *rejectedList) run(cmd *cobra.Command, args []string) error {
	args, err := r.arguments(cmd, args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return usagef("want an address, host:port or unix:PATH, got %q", args[0])
	}
	r.lossy = true // bytes are no JSON
	format := r.appenders()[r.print.value]
	out := r.listing(cmd, "POSITION", "TIME", "TOPIC", "PRODUCER", "NUMBER", "CODE", "SIZE", "BYTES", "ERROR")
	var line []byte
	err = r.each(cmd, func(_ context.Context, e *rejectedRecord) (err error) {
		if format == nil {
			e.list(out)
			return out.err
		}
		if line, err = format(line[:0], e.dict); err == nil {
			_, err = cmd.OutOrStdout().Write(line)
		}
		return err
	})
	return cmp.Or(errors.Join(err, out.end()), r.end())
}

// firstBytes is how many bytes of a record are shown to people.
const firstBytes = 24

func (r *rejectedRecord) list(out *listing) {
	first := r.bytes()
	more := ""
	if len(first) > firstBytes {
		first, more = first[:firstBytes], "…"
	}
	d := dict.Of("position", r.position, "time", timestamp(r.time))
	for k, v := range r.dict.All() {
		if name, ok := k.Text(); ok {
			d.Set(name, v)
		}
	}
	out.add(d, r.position, r.time, r.text("topic"), r.text("producer"), r.number("number"), r.text("code"),
		r.number("size"), strconv.Quote(string(first))+more, strconv.Quote(ofServer.Replace(r.text("error"))))
}

// A retry is the command rejected retry with its flags.
type retry struct {
	formatFlags
	rejectedReader

	all bool
}

func rejectedRetryCommand() *cobra.Command {
	r := new(retry)
	cmd := &cobra.Command{
		Use:   "retry [ADDR] POSITION… | --all",
		Short: "Send rejected records again",
		Long: "retry sends rejected records to their topics again, in their formats, when what was wrong\n" +
			"has been put right. Each is sent under a name that is made of its position, so that it\n" +
			"is stored once however often this is run. One that is rejected again is kept under a new\n" +
			"position.",
		Example: "  dictwire rejected retry k3f9a2bc.18234.0\n" +
			"  dictwire rejected retry --all --from 1h",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd, args) },
	}
	flags := cmd.Flags()
	r.add(flags)
	flags.BoolVar(&r.all, "all", false, "send all of them again")
	flags.Var(&r.from, "from", "where --all begins: "+point.Help+" (default earliest)")
	return cmd
}

func (r *retry) run(cmd *cobra.Command, args []string) error {
	wanted := map[string]bool{}
	args, err := r.arguments(cmd, args)
	if err != nil {
		return err
	}
	for _, arg := range args {
		if p, err := store.ParsePosition(arg); err != nil || p.IsZero() {
			return usagef("want a position, as dictwire rejected lists it, got %q", arg)
		}
		wanted[arg] = true
	}
	if r.all == (len(wanted) > 0) {
		return usagef("want the positions of records, or --all")
	}
	sent := 0
	err = r.each(cmd, func(ctx context.Context, e *rejectedRecord) error {
		if !r.all && !wanted[e.position] {
			return nil
		}
		delete(wanted, e.position)
		err := r.again(ctx, e)
		if err == nil {
			sent++
			return nil
		}
		var bad *recordError // it names the position
		if !errors.As(err, &bad) {
			err = fmt.Errorf("%s: %w", e.position, err)
		}
		if ctx.Err() != nil { // the server is gone
			return err
		}
		r.tell(err)
		return nil
	})
	if err == nil {
		for position := range wanted {
			r.tell(hintError{fmt.Errorf("%s: nothing was rejected there", position), "dictwire rejected lists all"})
		}
	}
	say(r.stderr, "%s taken", count(int64(sent), "record is", "records are"))
	return cmp.Or(err, r.end())
}

// again sends a record again, and returns when it is settled.
func (r *retry) again(ctx context.Context, e *rejectedRecord) error {
	if at := e.text("position"); at != "" {
		return hintError{
			fmt.Errorf("it is in %s, at %s: a command of tail --exec failed with it", e.text("topic"), at),
			"dictwire tail --from " + at + " reads it",
		}
	}
	if err := store.CheckTopic(e.text("topic")); err != nil {
		return fmt.Errorf("where it was to go is not kept: %w", err)
	}
	record := e.bytes()
	if v, cut := e.dict.Get("truncated"); cut {
		if yes, _ := v.Bool(); yes {
			return fmt.Errorf("only %d of its %s bytes are kept", len(record), e.number("size"))
		}
	}
	cd, ok := r.stored()[e.text("format")]
	if !ok {
		return fmt.Errorf("the format %q is not known", e.text("format"))
	}
	// If the record was not read to its end, bytes after it may have been kept, too.
	first := newSequence(e.position, bytes.NewReader(record), cd, unlimited)
	record, err := first.next(ctx)
	if err == nil {
		_, err = cd.Decode(record, unlimited)
	}
	if err != nil {
		return err
	}
	var rejected error
	c, err := r.as(dictwire.Dialer{
		Codec: cd, Limits: unlimited, Spool: &client.OneRecord{Name: "retry." + e.position, Topic: e.text("topic"), Codec: cd, Record: record},
		OnRejected: func(r *dictwire.RejectedError) {
			rejected = serverError{fmt.Errorf("rejected again, and kept under another position: %s", r.Text)}
		},
		Logger: slog.New(slog.DiscardHandler),
	}).Dial(ctx, r.addr)
	if err != nil {
		return err
	}
	err = c.Flush(ctx)
	_ = c.Close()
	return errors.Join(err, rejected)
}
