package cli

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/store/log"
)

func storeBackupCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy a store, also while a server has it open",
		Long: "backup copies a store into a directory that does not exist yet. The server goes on\n" +
			"meanwhile, and the copy holds all that was acknowledged when backup began. Where the file\n" +
			"system allows it, the copy shares files with the store that nothing is written to any\n" +
			"more, so that it takes little room there: for safety from a failing disk, copy it on. It\n" +
			"is a store: what opens it first to write gives it another tag, so that positions from\n" +
			"after the copy are refused, and don't stand for other records.\n\n" +
			"What is damaged or missing is copied as it is, and told; the exit status is then 1.",
		Example: "  dictwire store backup /backup/dictwire --store /var/lib/dictwire\n" +
			"  dictwire store check --store /backup/dictwire",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := &work{verb: "copied"}
			end := w.begin(cmd)
			err := f.look(cmd, w.set, func(s *log.Store) error {
				err := s.Backup(cmd.Context(), args[0])
				if errors.Is(err, fs.ErrExist) {
					return hintError{err, "a backup goes into a directory that does not exist yet"}
				}
				return err
			})
			end()
			return w.summary(cmd, err, string(size(w.done.Load()))+" copied to "+args[0])
		},
	}
	f.add(cmd.Flags())
	return cmd
}
