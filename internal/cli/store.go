package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
		Short: "Inspect, check, export, trim, back up and move a store on disk",
		Long: "store works on the directory in which serve keeps records. The commands that only read it\n" +
			"(info, check, export, backup) change nothing, and also work while a server has it open;\n" +
			"for the others, stop the server first.",
		Example: "  dictwire store info\n" +
			"  dictwire store check --store /var/lib/dictwire\n" +
			"  dictwire store export --topic orders --from 24h >orders.ndjson\n" +
			"  dictwire store trim orders --before 30d",
	}, storeInfoCommand(), storeCheckCommand(), storeBackupCommand(), storeCopyCommand(), storeExportCommand(), storeTrimCommand(), storeDropCommand(), storeForgetCommand(), storeRestoredCommand())
}

// group makes cmd a command that only has subcommands.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(below...)
	return cmd
}

// A storeFlag is the --store flag, the directory of a store.
type storeFlag struct {
	dir  string
	name string // of the default directory; "" means dictwire
}

func (f *storeFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "store", "", "`directory` of the store (default dictwire in $XDG_STATE_HOME or ~/.local/state)")
}

// path returns the value of the flag, or the default directory.
func (f *storeFlag) path() (string, error) {
	if scheme, _, ok := strings.Cut(f.dir, ":/"); ok && (scheme == "nats" || strings.Contains(f.dir, "://")) {
		return "", usagef("--store is a directory, or for serve memory or nats://a:4222,b:4222, not %s", redacted(f.dir))
	}
	if f.dir != "" {
		return f.dir, nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the specification says to ignore it
		home, err := os.UserHomeDir()
		if err != nil {
			return "", hintError{fmt.Errorf("no directory for the store: %w", err), "set its directory with --store DIR"}
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, cmp.Or(f.name, "dictwire")), nil
}

// directory is path for commands that need a store on disk.
func (f *storeFlag) directory() (string, error) {
	if inBroker(f.dir) {
		return "", usagef("--store must be a directory: of the commands for stores, only store copy works on a broker")
	}
	dir, err := f.path()
	if err == nil && dir == inMemory {
		err = usagef("--store must be a directory: a store in memory ends with its server")
	}
	return dir, err
}

// with opens an existing store and calls do. The store is locked, and nothing is trimmed
// meanwhile.
func (f *storeFlag) with(ctx context.Context, o log.Options, do func(*log.Store) error) error {
	dir, err := f.directory()
	if err != nil {
		return err
	}
	o.Existing, o.KeepEvery = true, -1
	s, err := log.Open(ctx, dir, &o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hintError{fmt.Errorf("no store in %s", dir), "set its directory with --store DIR"}
	case errors.Is(err, store.ErrLocked):
		return hintError{err, "stop the server that has it open, then try again"}
	case err != nil:
		return hinted(err)
	}
	return errors.Join(do(s), s.Close())
}

// read opens an existing store read-only and calls do. A server may have the store open.
func (f *storeFlag) read(ctx context.Context, o log.Options, do func(*log.Store) error) error {
	o.ReadOnly = true
	return f.with(ctx, o, do)
}

// look is read for a do that does not report damage itself: look reports it before it calls
// do, and the command then fails. progress is that of [log.Options].
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

// hinted adds a hint to an error of log.Open.
func hinted(err error) error {
	var version *log.VersionError
	switch {
	case errors.As(err, &version) && version.Version < version.Reads:
		return hintError{err, "export it with the dictwire that wrote it, and send the records to a new store"}
	case errors.As(err, &version):
		return hintError{err, "use the dictwire that wrote it, or a newer one"}
	case errors.Is(err, store.ErrHalf):
		return hintError{err, "run the same dictwire store copy again to continue"}
	case errors.Is(err, log.ErrDamaged):
		return hintError{err, "dictwire store check --salvage keeps the rest"}
	case errors.Is(err, fs.ErrPermission):
		return hintError{err, "a store belongs to the user whose server made it; --store DIR selects another one"}
	case errors.Is(err, syscall.ENOTDIR):
		return hintError{err, "set its directory with --store DIR"}
	default:
		return err
	}
}

// inMemory is the value of --store for a store in memory.
const inMemory = "memory"

// aTopic returns the statistics of an existing topic.
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
