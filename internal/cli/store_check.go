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
		Short: "Read a whole store and print what is damaged",
		Long: "check reads every block of a store, verifies its checksum, and prints the topic and the\n" +
			"positions of what is damaged: those records are lost, and all others can be read. The exit\n" +
			"code is 1 if there is damage. check changes nothing, and works while a server has the store\n" +
			"open.\n\n" +
			"serve does not open a store with missing files until you accept the loss: --salvage\n" +
			"records that you do, and serve then opens the store with what is left. If that can't be\n" +
			"recorded, because a server has the store open or the disk is read-only, --salvage only\n" +
			"checks.",
		Example: "  dictwire store check\n  dictwire store check --store /var/lib/dictwire --salvage",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := &work{verb: "read"}
			end := w.begin(cmd)
			err := storeCheck(cmd, &f, w, salvage)
			end()
			if w.interrupted { // otherwise it is in the output
				err = w.summary(cmd, err, string(size(w.done.Load()))+" read")
			}
			return err
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.BoolVar(&salvage, "salvage", false, "accept the loss of missing files, so that serve opens the rest")
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
		say(cmd.ErrOrStderr(), "the damage was not recorded: %v", err)
	}
	return f.read(cmd.Context(), log.Options{Progress: w.set}, check)
}

// checked prints the result of a check.
func checked(ctx context.Context, out *bufio.Writer, s *log.Store) error {
	r, err := s.Check(ctx, func(d *store.DamageError) {
		if d.To.IsZero() { // the damage is not in the log
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
			"dictwire store check --salvage accepts the loss, so that it does",
		}
	}
	return exitError(exitFailure)
}
