package cli

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func storeCheckCommand() *cobra.Command {
	var (
		f       storeFlag
		salvage bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read all of a store and print what is damaged",
		Long: "check reads every block of a store, compares its checksum, and prints what is damaged,\n" +
			"with the positions and the topic: those records are lost, and everything else can be\n" +
			"read. The exit code is 1 where something is.\n\n" +
			"A store whose files were cut off is not opened as if nothing were: --salvage fills them\n" +
			"up, so that what is left of them can be read, by serve too.",
		Example: "  dictwire store check\n  dictwire store check --store /var/lib/dictwire --salvage",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), log.Options{Salvage: salvage}, func(s *log.Store) error { return storeCheck(cmd, s) })
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.BoolVar(&salvage, "salvage", false, "fill up files that were cut off, so that the rest can be read")
	return cmd
}

func storeCheck(cmd *cobra.Command, s *log.Store) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	r, err := s.Check(cmd.Context(), func(d *store.DamageError) {
		if d.To.IsZero() { // not in the log
			fmt.Fprintf(out, "damaged: %s\n", visible(d.Err.Error()))
			return
		}
		topic := d.Topic
		if topic == "" {
			topic = "an unknown topic"
		}
		fmt.Fprintf(out, "damaged: from %v to %v in %s: %s\n", d.From, d.To, visible(topic), visible(d.Err.Error()))
	})
	if err != nil {
		return errors.Join(err, out.Flush())
	}
	fmt.Fprintf(out, "%s in %s are whole, %s\n", count(int64(r.Records), "record", "records"),
		count(int64(r.Blocks), "block", "blocks"), size(r.Bytes))
	if r.Damages == 0 {
		return out.Flush()
	}
	lost := "how many records are lost is not known"
	if r.Lost > 0 {
		lost = "at least " + count(int64(r.Lost), "record is lost", "records are lost")
	}
	fmt.Fprintf(out, "%s damaged; %s\n", count(int64(r.Damages), "place is", "places are"), lost)
	if err := out.Flush(); err != nil {
		return err
	}
	return exitError(exitFailure)
}
