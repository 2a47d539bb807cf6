package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	"github.com/dictwire/dictwire/store/nats"
)

// A storeCopy is the command store copy with its flags.
type storeCopy struct {
	nats        natsFlags
	done, total atomic.Uint64 // records copied and records compared
	fatal       func(error)   // ends the copy, because the stream was replaced or deleted
}

func storeCopyCommand() *cobra.Command {
	c := &storeCopy{}
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Move a store between a disk and a NATS cluster",
		Long: "copy makes TO a copy of FROM; each is the directory of a store, or the address of a\n" +
			"broker, nats://a:4222,b:4222. It copies everything: records in their order, with senders\n" +
			"and times; rejected records; the state of each producer, which continues where it was;\n" +
			"and cursors, at the same records. Positions are new.\n\n" +
			"No server may have either store open. TO must be empty, or an incomplete copy of FROM:\n" +
			"however a copy was interrupted, running the command again continues it. A broker that\n" +
			"is away is waited for, up to a minute. Until everything has been compared, serve\n" +
			"refuses TO.",
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
			if err == nil {
				err = told(cmd, r)
			}
			return w.summary(cmd, err, copied(r))
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
	c.fatal = cancel
	logger := slog.New(lineHandler{cmd.ErrOrStderr()})
	source, err := c.open(ctx, from, false, logger)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := c.open(ctx, to, true, logger)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	var broker movable
	switch {
	case inBroker(from):
		broker = source
	case inBroker(to):
		broker = target
	}
	for interrupted := 0; ; interrupted++ {
		r, err = storecopy.Copy(ctx, source, target, func(done, total uint64) {
			c.total.Store(total)
			c.done.Store(done)
		})
		if broker == nil || interrupted == mostInterrupted || !errors.Is(err, store.ErrUnavailable) || !ready(ctx, broker, logger) {
			return r, explained(err, from, to)
		}
	}
}

const (
	// mostInterrupted is how often a copy goes on by itself.
	mostInterrupted = 20

	// away is how long a broker may be away during a copy.
	away = time.Minute
)

// ready waits for a broker that was away, as it is during an election, which can take
// longer than one step of a copy waits. It reports whether the broker is there.
func ready(ctx context.Context, broker movable, logger *slog.Logger) bool {
	logger.Warn("the copy goes on when the broker is back")
	ctx, cancel := context.WithTimeout(ctx, away)
	defer cancel()
	for broker.Ready(ctx) != nil {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return false
		}
	}
	return true
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
	if inBroker(from) && inBroker(to) {
		return usagef("FROM and TO are both at a broker: nats stream backup copies streams")
	}
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
func (c *storeCopy) open(ctx context.Context, name string, target bool, logger *slog.Logger) (movable, error) {
	if inBroker(name) {
		return c.openBroker(ctx, name, target, logger)
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
func (c *storeCopy) openBroker(ctx context.Context, name string, target bool, logger *slog.Logger) (movable, error) {
	o := c.nats.options(logger)
	o.Import, o.Unserved, o.Fatal = target, true, c.fatal
	o.MaxTopics, o.MaxProducers, o.MaxCursors = -1, -1, -1
	s, err := nats.Open(ctx, name, o)
	if err != nil {
		return nil, hinted(err)
	}
	// A killed server still counts for some seconds.
	said := false
	for deadline := time.Now().Add(20 * time.Second); ; {
		n, err := s.Others(ctx)
		if err == nil && n == 0 {
			return s, nil
		}
		if err == nil && time.Now().After(deadline) {
			err = hintError{
				fmt.Errorf("%s %s stream %s open", count(int64(n), "server", "servers"), map[bool]string{true: "has", false: "have"}[n == 1], c.nats.prefix),
				"stop all servers of the stream, then try again",
			}
		}
		if err != nil {
			return nil, errors.Join(err, s.Close()) //nolint:contextcheck // a Close has no context
		}
		if !said {
			said = true
			logger.Info("waiting for the servers that have the stream open", "stream", c.nats.prefix)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}
