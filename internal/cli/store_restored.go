package cli

import (
	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/store/log"
)

func storeRestoredCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "restored",
		Short: "Say that the store is a backup that was put back",
		Long: "restored gives the store another tag, by which positions begin. Readers that keep\n" +
			"positions themselves are then told that theirs are of another store; without it, they\n" +
			"would miss what is stored from now on, up to where they were. Cursors stay.",
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
