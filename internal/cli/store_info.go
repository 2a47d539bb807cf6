package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/store/log"
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
			return f.look(cmd, func(s *log.Store) error { return storeInfo(cmd, s) })
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func storeInfo(cmd *cobra.Command, s *log.Store) error {
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
	out := newTable(cmd.OutOrStdout())
	out.row("directory", i.Dir)
	out.row("head", i.Head)
	out.row("on disk", fmt.Sprintf("%s, %s free", size(i.DiskBytes), size(i.FreeBytes)))
	out.row("producers", i.Producers)
	out.row("cursors", len(cursors))
	if err := out.Flush(); err != nil || len(topics) == 0 {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	out.heads(topicHeads...)
	for _, t := range topics {
		out.row(t.Name, t.Records, size(t.Bytes), orDash(t.First.String()), moment(t.Oldest), moment(t.Newest))
	}
	return out.Flush()
}

// topicHeads are the columns of what topics hold.
var topicHeads = []string{"TOPIC", "RECORDS", "BYTES", "FIRST", "OLDEST", "NEWEST"}
