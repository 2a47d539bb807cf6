package cli

import (
	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/store/log"
)

func storeRestoredCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "restored",
		Short: "Mark a store as restored from a backup",
		Long: "restored gives the store another tag, with which its positions begin. Readers that keep\n" +
			"positions themselves are then told that theirs belong to another store. Without it, they\n" +
			"would miss new records up to the positions that they had reached. Cursors stay valid.",
		Example: "  cp -a /backup/dictwire /var/lib/dictwire\n" +
			"  dictwire store restored --store /var/lib/dictwire",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), log.Options{Restored: true}, func(*log.Store) error { return nil })
		},
	}
	f.add(cmd.Flags())
	return cmd
}
