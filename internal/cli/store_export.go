package cli

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// An export is the command store export with its flags.
type export struct {
	formatFlags
	storeFlag

	topics   []string
	format   choice
	from, to pointFlag

	records, bytes atomic.Int64 // written so far
	blocks, all    atomic.Int64 // blocks read so far, and in total
}

// state returns the progress.
func (e *export) state() state {
	s := state{text: count(e.records.Load(), "record", "records") + " exported", count: float64(e.records.Load()), share: -1}
	if all := e.all.Load(); all > 0 {
		s.share = float64(e.blocks.Load()) / float64(all)
	}
	return s
}

func storeExportCommand() *cobra.Command {
	e := &export{format: choice{"json", []string{"cbor", "json"}}}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the records of a store as NDJSON or CBOR",
		Long: "export writes the dictionaries of a store to standard output, in their order, as lines of\n" +
			"JSON or as a CBOR sequence. Records that can't be read, or that JSON can't represent, are\n" +
			"reported and left out; the exit code is then 1.",
		Example: "  dictwire store export >all.ndjson\n" +
			"  dictwire store export --topic orders --topic 'tills.*' --from 24h --format cbor >day.cbor\n" +
			"  dictwire store export --topic orders | dictwire send --topic orders -",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPatterns(e.topics); err != nil {
				return err
			}
			w := &work{other: e.state}
			end := w.begin(cmd)
			err := e.read(cmd.Context(), log.Options{}, func(s *log.Store) error { return e.run(cmd, s) })
			end()
			return w.summary(cmd, err, count(e.records.Load(), "record", "records")+" exported, "+string(size(uint64(e.bytes.Load()))))
		},
	}
	flags := cmd.Flags()
	e.add(flags)
	addTopics(flags, &e.topics)
	flags.Var(&e.format, "format", "output format: "+names(map[string]bool{"cbor": true, "json": true}))
	flags.Var(&e.from, "from", "where to begin: "+point.Help)
	flags.Var(&e.to, "to", "where to end: "+point.Help)
	e.addLossy(flags)
	return cmd
}

func (e *export) run(cmd *cobra.Command, s *log.Store) error {
	ctx := cmd.Context()
	from, err := e.from.In(ctx, s)
	if err != nil {
		return err
	}
	to := e.to.Point
	if e.to.text == "" {
		to = point.Latest()
	}
	end, err := to.In(ctx, s)
	if err != nil {
		return err
	}
	if head, err := s.Head(ctx); err != nil {
		return err
	} else if end.Tag != "" && end.Tag != head.Tag {
		return fmt.Errorf("--to: %w: %v is of another one", store.ErrPosition, end)
	}
	if err := e.nameUnknown(cmd, s); err != nil {
		return err
	}
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	e.strict = true
	write := &written{format: e.appenders()[e.format.value], codecs: e.stored()}
	var failed error
	report := func(err error) error {
		failed = exitError(exitFailure)
		if err := out.Flush(); err != nil {
			return err
		}
		tell(cmd.ErrOrStderr(), err)
		return nil
	}
	e.all.Store(int64(end.Block - min(from.Block, end.Block)))
	for b, err := range s.Read(ctx, from, store.ReadOptions{Topics: topicsOr(e.topics)}) {
		if b.At.Compare(end) >= 0 && !b.Next.IsZero() {
			break
		}
		e.blocks.Store(int64(b.At.Block - min(from.Block, b.At.Block)))
		var damage *store.DamageError
		var trim *store.TrimmedError
		switch {
		case errors.As(err, &damage), errors.As(err, &trim):
			if err := report(err); err != nil {
				return err
			}
			continue
		case err != nil:
			return errors.Join(err, out.Flush())
		case b.Block == nil:
			continue
		}
		for i, record := range b.Block.Records(b.At.Index) {
			at := b.At
			if at.Index = i; at.Compare(end) >= 0 {
				break
			}
			line, err := write.record(b.Block.Codec, record)
			if err != nil {
				err = report(fmt.Errorf("%v in %s: %w", at, b.Block.Topic, instead(err, "--format cbor")))
			} else {
				_, err = out.Write(line)
				e.records.Add(1)
				e.bytes.Add(int64(len(line)))
			}
			if err != nil {
				return err
			}
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	e.blocks.Store(e.all.Load())
	return failed
}

// nameUnknown reports topics of the command line that the store doesn't have.
func (e *export) nameUnknown(cmd *cobra.Command, s *log.Store) error {
	all, err := s.Topics(cmd.Context())
	for _, pattern := range e.topics {
		known := slices.ContainsFunc(all, func(t store.TopicStat) bool { return store.Match([]string{pattern}, t.Name) })
		if err == nil && !known {
			say(cmd.ErrOrStderr(), "there are no records in topic %s", pattern)
		}
	}
	return err
}

// A written converts stored records to another format.
type written struct {
	format appender
	codecs map[string]codec.Codec // of the stored formats
	line   []byte
}

// record converts a record. The result is valid until the next call.
func (w *written) record(format string, record []byte) ([]byte, error) {
	c, ok := w.codecs[format]
	if !ok {
		return nil, fmt.Errorf("a record in the format %q, which this dictwire does not know", format)
	}
	d, err := c.Decode(record, unlimited)
	if err != nil {
		return nil, err
	}
	w.line, err = w.format(w.line[:0], d)
	return w.line, err
}
