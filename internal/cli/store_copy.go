package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/internal/storecopy"
	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A storeCopy is the command store copy with its flags.
type storeCopy struct {
	nats        natsFlags
	done, total atomic.Uint64 // records copied and records compared
	fatal       func(error)   // ends the copy, because the stream was replaced or deleted
	stderr      io.Writer
}

func storeCopyCommand() *cobra.Command {
	c := &storeCopy{}
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Move a store between a disk and a NATS cluster",
		Long: "copy makes TO a copy of FROM; each is the directory of a store, or the address of a\n" +
			"broker, nats://a:4222,b:4222; at two brokers, the streams have the same name. It copies\n" +
			"everything: records in their order, with senders and times; rejected records; the state\n" +
			"of each producer, which continues where it was; and cursors, at the same records.\n" +
			"Positions are new.\n\n" +
			"No server may have either store open: for up to 20 s, copy waits for it to stop. TO must\n" +
			"be empty, or an incomplete copy of FROM: however a copy was interrupted, running the\n" +
			"command again continues it. A broker that is away is waited for, up to a minute. Until\n" +
			"everything has been compared, serve refuses TO.",
		Example: "  dictwire store copy /var/lib/dictwire nats://a:4222,b:4222,c:4222\n" +
			"  dictwire store copy nats://a:4222,b:4222,c:4222 /var/lib/dictwire",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := &work{other: c.state}
			end := w.begin(cmd)
			r, err := c.run(cmd, args[0], args[1])
			end()
			if err == nil && r.Already {
				say(cmd.ErrOrStderr(), "%s is a complete copy already: nothing was done", redacted(args[1]))
				return nil
			}
			if err != nil {
				return w.summary(cmd, err, c.state().text)
			}
			return w.summary(cmd, told(cmd, r), copied(r))
		},
	}
	c.nats.add(cmd.Flags())
	return cmd
}

// state returns the progress.
func (c *storeCopy) state() state {
	done, total := c.done.Load(), c.total.Load()
	s := state{text: count(int64(done/2), "record", "records") + " copied and compared", count: float64(done) / 2, share: -1}
	if total > 0 {
		s.share = float64(done) / float64(total)
	}
	return s
}

// told prints a row for each topic of the copy.
func told(cmd *cobra.Command, r storecopy.Report) error {
	t := terminal.NewTable(outputOf(cmd))
	t.Row("TOPIC", "RECORDS", "BLOCKS", "BYTES", "SHA-256")
	for _, topic := range r.Topics {
		t.Row(topic.Name, topic.Records, topic.Blocks, size(topic.Bytes), fmt.Sprintf("%.8x", topic.Digest))
	}
	return t.Flush()
}

// copied returns a summary of the copy.
func copied(r storecopy.Report) string {
	var records int64
	for _, t := range r.Topics {
		records += int64(t.Records)
	}
	return fmt.Sprintf("%s, %s and %s copied, all compared", count(records, "record", "records"),
		count(int64(r.Producers), "producer", "producers"), count(int64(r.Cursors), "cursor", "cursors"))
}

func (c *storeCopy) run(cmd *cobra.Command, from, to string) (r storecopy.Report, err error) {
	if err := c.check(from, to); err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	c.fatal, c.stderr = cancel, cmd.ErrOrStderr()
	source, err := c.open(ctx, from, false)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := c.open(ctx, to, true)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	ends := map[string]movable{from: source, to: target}
	for interrupted, stuck := 1, 1; ; interrupted, stuck = interrupted+1, stuck+1 {
		r, err = storecopy.Copy(ctx, source, target, func(done, total uint64) {
			c.total.Store(total)
			c.done.Store(done)
			stuck = 0
		})
		if interrupted > mostInterrupted || stuck > mostStuck || !errors.Is(err, store.ErrUnavailable) || !c.back(ctx, err, ends) {
			return r, explained(err, from, to)
		}
	}
}

const (
	// mostInterrupted is how often a copy continues by itself.
	mostInterrupted = 20

	// mostStuck is how often it does so without having come further, as at a full stream.
	mostStuck = 4

	// away is how long a broker may be away during a copy. An election can take longer than
	// one step of a copy waits.
	away = time.Minute

	// counted is how long the copy waits for servers that have a stream open: a killed one
	// counts for some seconds.
	counted = 20 * time.Second

	// sayEvery is the interval at which a command says what it waits for.
	sayEvery = 5 * time.Second
)

// back waits for the brokers among the source and the target, one of which was away. It
// reports whether they are back. A full disk is not waited for.
func (c *storeCopy) back(ctx context.Context, err error, ends map[string]movable) bool {
	var brokers []movable
	for name, s := range ends {
		if inBroker(name) {
			brokers = append(brokers, s)
		} else if s.Ready(ctx) != nil {
			return false
		}
	}
	if len(brokers) == 0 || ctx.Err() != nil {
		return false
	}
	say(c.stderr, "%v; the copy continues when the broker answers", err)
	is, _ := await(ctx, c.stderr, "the broker to answer", away, func() (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // then the user is told
		defer cancel()
		for _, b := range brokers {
			if b.Ready(ctx) != nil {
				return false, nil
			}
		}
		return true, nil
	})
	return is
}

// await calls done once a second, until it returns true or an error or the time is over. At
// the beginning and every few seconds it says what it waits for, and for how long still.
func await(ctx context.Context, w io.Writer, what string, most time.Duration, done func() (bool, error)) (bool, error) {
	said := 0 * time.Second
	for begin := time.Now(); ; {
		is, err := done()
		took := time.Since(begin)
		if is || err != nil || took >= most || ctx.Err() != nil {
			return is, err
		}
		if took >= said {
			say(w, "waiting up to %.0f s for %s", (most - took).Seconds(), what)
			said = took + sayEvery
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// explained adds a hint to an error of a copy.
func explained(err error, from, to string) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*store.DamageError)):
		return hintError{err, "dictwire store check --store " + from + " lists the damage; trimmed or dropped records need not be copied"}
	case errors.Is(err, storecopy.ErrNotEmpty):
		return hintError{fmt.Errorf("%s: %w", redacted(to), err), "copy to a directory or a stream that does not exist yet: --nats-prefix names the stream"}
	case errors.Is(err, storecopy.ErrAnother):
		return hintError{fmt.Errorf("%s: %w", redacted(to), err), "continue with the source it was begun with, or delete it to start over"}
	case errors.Is(err, store.ErrUnavailable):
		return hintError{err, "run the command again to continue"}
	case errors.Is(err, storecopy.ErrUsed):
		return hintError{err, "stop all servers of both stores, delete the copy, and start over"}
	default:
		return err
	}
}

// check validates the arguments.
func (c *storeCopy) check(from, to string) error {
	for _, name := range []string{from, to} {
		if name == inMemory || name == "" {
			return usagef("want a directory or nats://…, not %q", name)
		}
	}
	a, errA := filepath.Abs(from)
	b, errB := filepath.Abs(to)
	if errA == nil && errB == nil && a == b {
		return usagef("FROM and TO are the same")
	}
	return nil
}

// A movable is the source or the target of a copy.
type movable interface {
	storecopy.Target
	Close() error
}

// open opens the source or the target.
func (c *storeCopy) open(ctx context.Context, name string, target bool) (movable, error) {
	if inBroker(name) {
		return c.openBroker(ctx, name, target)
	}
	var damaged error
	s, err := log.Open(ctx, name, &log.Options{
		Existing: !target, Import: target, KeepEvery: -1, MaxTopics: -1, MaxProducers: -1, MaxCursors: -1, MaxStoredBytes: -1,
		Damaged: func(d log.Damage) { damaged = cmp.Or(damaged, errors.New(d.Text)) },
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no store in %s", name)
	case errors.Is(err, store.ErrLocked):
		return nil, hintError{err, "stop the server that has it open, then try again"}
	case err != nil:
		return nil, hinted(err)
	case damaged != nil:
		return nil, errors.Join(hintError{fmt.Errorf("%s is damaged: %w", name, damaged), "dictwire store check --store " + name + " lists what is lost"}, s.Close())
	}
	return s, nil
}

// openBroker opens a store at a broker, and waits until no server has it open.
func (c *storeCopy) openBroker(ctx context.Context, name string, target bool) (movable, error) {
	o := c.nats.options(slog.New(lineHandler{c.stderr}))
	o.Import, o.Unserved, o.Fatal = target, true, c.fatal
	o.MaxTopics, o.MaxProducers, o.MaxCursors = -1, -1, -1
	s, err := openNATS(ctx, name, o)
	if err != nil {
		return nil, err
	}
	var others int
	alone := func() (bool, error) {
		others, err = s.Others(ctx)
		return others == 0, err
	}
	is, err := await(ctx, c.stderr, "the servers that have stream "+c.nats.prefix+" open to stop", counted, alone)
	if err == nil && !is {
		err = hintError{
			fmt.Errorf("%s %s stream %s open", count(int64(others), "server", "servers"), map[bool]string{true: "has", false: "have"}[others == 1], c.nats.prefix),
			"stop all servers of the stream, then try again",
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close()) //nolint:contextcheck // a Close has no context
	}
	return s, nil
}
