package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/store/pebble"
)

func storeInfoCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:     "info",
		Short:   "Print what a store holds",
		Long:    "info prints what a store holds, in all and in each topic.",
		Example: "  dictwire store info\n  dictwire store info --store /var/lib/dictwire",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), pebble.Options{}, func(s *pebble.Store) error { return storeInfo(cmd, s) })
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func storeInfo(cmd *cobra.Command, s *pebble.Store) error {
	i, err := s.Info(cmd.Context())
	if err != nil {
		return err
	}
	topics, err := s.Topics(cmd.Context())
	if err != nil {
		return err
	}
	cursors, err := s.Cursors(cmd.Context())
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "directory\t%s\n", i.Dir)
	fmt.Fprintf(out, "head\t%v\n", i.Head)
	fmt.Fprintf(out, "on disk\t%s, %s free\n", size(i.DiskBytes), size(i.FreeBytes))
	fmt.Fprintf(out, "producers\t%d\n", i.Producers)
	fmt.Fprintf(out, "cursors\t%d\n", len(cursors))
	if err := out.Flush(); err != nil || len(topics) == 0 {
		return err
	}
	fmt.Fprintln(out, "\nTOPIC\tRECORDS\tBYTES\tFIRST\tOLDEST\tNEWEST")
	for _, t := range topics {
		fmt.Fprintf(out, "%s\t%d\t%s\t%s\t%s\t%s\n",
			t.Name, t.Records, size(t.Bytes), orDash(t.First.String()), moment(t.Oldest), moment(t.Newest))
	}
	return out.Flush()
}
