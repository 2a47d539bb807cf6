package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func storeCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "store",
		Short: "Look at a store on disk, check it, take records out of it, move it",
		Long: "store works on the directory in which serve keeps records. What only reads it (info,\n" +
			"check, export, backup) does so beside a server that has it open, too, and changes nothing;\n" +
			"for the others, the server must be stopped.",
		Example: "  dictwire store info\n" +
			"  dictwire store check --store /var/lib/dictwire\n" +
			"  dictwire store export --topic orders --from 24h >orders.ndjson\n" +
			"  dictwire store trim orders --before 30d",
	}, storeInfoCommand(), storeCheckCommand(), storeBackupCommand(), storeCopyCommand(), storeExportCommand(), storeTrimCommand(), storeDropCommand(), storeForgetCommand(), storeRestoredCommand())
}

// group makes cmd a command that only has others below it.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(below...)
	return cmd
}

// A storeFlag is the directory of a store.
type storeFlag struct {
	dir  string
	name string // of the default directory; "" means dictwire
}

func (f *storeFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "store", "", "`directory` of the store (default dictwire in $XDG_STATE_HOME or ~/.local/state)")
}

// path returns the directory.
func (f *storeFlag) path() (string, error) {
	if f.dir != "" {
		return f.dir, nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // then it is to be ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", hintError{fmt.Errorf("no directory for the store: %w", err), "--store DIR says where it is"}
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, cmp.Or(f.name, "dictwire")), nil
}

// directory returns the directory of a store on disk.
func (f *storeFlag) directory() (string, error) {
	dir, err := f.path()
	if err == nil && dir == inMemory {
		err = usagef("--store wants a directory: what is in memory ends with its server")
	}
	return dir, err
}

// with opens the store, which must be there, and calls do. Nothing else happens
// in it meanwhile.
func (f *storeFlag) with(ctx context.Context, o log.Options, do func(*log.Store) error) error {
	dir, err := f.directory()
	if err != nil {
		return err
	}
	o.Existing, o.KeepEvery = true, -1
	s, err := log.Open(ctx, dir, &o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hintError{fmt.Errorf("no store in %s", dir), "--store DIR says where it is"}
	case errors.Is(err, store.ErrLocked):
		return hintError{err, "stop the server that has it open, then try again"}
	case err != nil:
		return hinted(err)
	}
	return errors.Join(do(s), s.Close())
}

// read opens the store, which must be there, without changing anything, and calls do. A
// server may have it open meanwhile.
func (f *storeFlag) read(ctx context.Context, o log.Options, do func(*log.Store) error) error {
	o.ReadOnly = true
	return f.with(ctx, o, do)
}

// look is read for what does not say itself what is damaged. That is told before do is
// called, and the command fails. Progress is that of [log.Options].
func (f *storeFlag) look(cmd *cobra.Command, progress func(done, total uint64), do func(*log.Store) error) error {
	var damaged error
	return f.read(cmd.Context(), log.Options{Progress: progress, Damaged: func(d log.Damage) {
		damaged = exitError(exitFailure)
		say(cmd.ErrOrStderr(), "damaged: %s", terminal.Visible(d.Text))
	}}, func(s *log.Store) error {
		if err := do(s); err != nil {
			return err
		}
		return damaged
	})
}

// hinted adds what helps against an error of log.Open.
func hinted(err error) error {
	var version *log.VersionError
	switch {
	case errors.As(err, &version) && version.Version < version.Reads:
		return hintError{err, "the dictwire that wrote it reads it: its store export, sent to a new store, keeps the records"}
	case errors.As(err, &version):
		return hintError{err, "the dictwire that wrote it reads it, and so does a newer one"}
	case errors.Is(err, store.ErrHalf):
		return hintError{err, "dictwire store copy, as it was begun, goes on with it"}
	case errors.Is(err, log.ErrDamaged):
		return hintError{err, "dictwire store check --salvage makes the rest readable"}
	case errors.Is(err, fs.ErrPermission):
		return hintError{err, "a store belongs to the user whose server made it; --store DIR names another one"}
	case errors.Is(err, syscall.ENOTDIR):
		return hintError{err, "--store DIR says where the store is"}
	default:
		return err
	}
}

// inMemory is what --store says for no directory.
const inMemory = "memory"

// aTopic returns what the store says of a topic that it must have.
func aTopic(ctx context.Context, s *log.Store, name string) (store.TopicStat, error) {
	found, err := s.Topics(ctx, name)
	if err != nil {
		return store.TopicStat{}, err
	}
	if len(found) == 1 && found[0].Name == name {
		return found[0], nil
	}
	return store.TopicStat{}, hintError{fmt.Errorf("no topic %q in this store", name), "dictwire store info lists them"}
}
