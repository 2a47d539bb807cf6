package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/internal/terminal"
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
			"read. The exit code is 1 where something is. It changes nothing, and works beside a server\n" +
			"that has the store open.\n\n" +
			"A store of which files are missing is not opened by serve as if nothing were: --salvage\n" +
			"notes that this is known, so that it is opened, with what is left. Where that can't be\n" +
			"written, since a server has the store open or the disk is read-only, it is a check alone.",
		Example: "  dictwire store check\n  dictwire store check --store /var/lib/dictwire --salvage",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := &work{verb: "read"}
			end := w.begin(cmd)
			err := storeCheck(cmd, &f, w, salvage)
			end()
			if w.interrupted { // else what is printed says it
				err = w.summary(cmd, err, string(size(w.done.Load()))+" read")
			}
			return err
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.BoolVar(&salvage, "salvage", false, "note that missing files are known to be, so that serve opens the rest")
	return cmd
}

// storeCheck checks a store.
func storeCheck(cmd *cobra.Command, f *storeFlag, w *work, salvage bool) error {
	out := bufio.NewWriter(w.over(cmd.OutOrStdout()))
	check := func(s *log.Store) error { return checked(cmd.Context(), out, s) }
	if salvage {
		err := f.with(cmd.Context(), log.Options{Salvage: true, Progress: w.set}, check)
		if !errors.Is(err, store.ErrLocked) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			return err
		}
		say(cmd.ErrOrStderr(), "nothing is noted: %v", err)
	}
	return f.read(cmd.Context(), log.Options{Progress: w.set}, check)
}

// checked writes what a check finds.
func checked(ctx context.Context, out *bufio.Writer, s *log.Store) error {
	r, err := s.Check(ctx, func(d *store.DamageError) {
		if d.To.IsZero() { // not in the log
			fmt.Fprintf(out, "damaged: %s\n", terminal.Visible(d.Err.Error()))
			return
		}
		topic := d.Topic
		if topic == "" {
			topic = "an unknown topic"
		}
		fmt.Fprintf(out, "damaged: from %v to %v in %s: %s\n", d.From, d.To, terminal.Visible(topic), terminal.Visible(d.Err.Error()))
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
	if len(r.Missing) > 0 {
		return hintError{
			fmt.Errorf("serve does not open this store: %s", strings.Join(r.Missing, "; ")),
			"dictwire store check --salvage notes that this is known, so that it does",
		}
	}
	return exitError(exitFailure)
}
