package cli

import (
	"errors"
	"fmt"
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
			"meanwhile, and the copy holds all that was acknowledged when backup began. It is a store:\n" +
			"what opens it first gives it another tag, so that positions from after the copy are\n" +
			"refused, and don't stand for other records.",
		Example: "  dictwire store backup /backup/dictwire --store /var/lib/dictwire\n" +
			"  dictwire store check --store /backup/dictwire",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := f.directory()
			if err != nil {
				return err
			}
			err = log.Copy(cmd.Context(), dir, args[0])
			switch {
			case errors.Is(err, fs.ErrExist):
				return hintError{err, "a backup goes into a directory that does not exist yet"}
			case errors.Is(err, fs.ErrNotExist):
				return hintError{fmt.Errorf("no store in %s", dir), "--store DIR says where it is"}
			case err != nil:
				return hinted(err)
			}
			return nil
		},
	}
	f.add(cmd.Flags())
	return cmd
}
