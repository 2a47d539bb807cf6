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
		Short: "Back up a store, even while a server has it open",
		Long: "backup copies a store to a directory that does not exist yet. The server keeps working\n" +
			"meanwhile, and the copy has everything that was acknowledged before backup began. If the\n" +
			"file system allows it, the copy shares the store's finished files and takes little room;\n" +
			"to be safe from a failing disk, copy it to another one. The copy is a store. The first\n" +
			"command that opens it for writing gives it another tag, so that positions from after the\n" +
			"copy are refused instead of standing for other records.\n\n" +
			"Damaged files are copied as they are, missing ones are left out, and both are reported;\n" +
			"the exit status is then 1.",
		Example: "  dictwire store backup /backup/dictwire --store /var/lib/dictwire\n" +
			"  dictwire store check --store /backup/dictwire",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := &work{verb: "copied"}
			end := w.begin(cmd)
			err := f.look(cmd, w.set, func(s *log.Store) error {
				err := s.Backup(cmd.Context(), args[0])
				if errors.Is(err, fs.ErrExist) {
					return hintError{err, "back up to a directory that does not exist yet"}
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
