package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func storeInfoCommand() *cobra.Command {
	var (
		f    storeFlag
		list jsonFlag
	)
	cmd := &cobra.Command{
		Use:     "info",
		Short:   "Print what a store contains",
		Long:    "info prints what a store contains, in total and by topic.",
		Example: "  dictwire store info\n  dictwire store info --store /var/lib/dictwire",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.look(cmd, nil, func(s *log.Store) error { return storeInfo(cmd, s, &list) })
		},
	}
	f.add(cmd.Flags())
	list.addJSON(cmd.Flags())
	return cmd
}

func storeInfo(cmd *cobra.Command, s *log.Store, list *jsonFlag) error {
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
	if list.json {
		all := []any{}
		for _, t := range topics {
			all = append(all, topicDict(t))
		}
		return list.write(outputOf(cmd), dict.Of(
			"directory", i.Dir, "head", i.Head.String(), "disk_bytes", i.DiskBytes, "free_bytes", i.FreeBytes,
			"producers", i.Producers, "cursors", len(cursors), "topics", all,
		))
	}
	out := terminal.NewTable(outputOf(cmd))
	out.Row("directory", i.Dir)
	out.Row("head", i.Head)
	out.Row("on disk", fmt.Sprintf("%s, %s free", size(i.DiskBytes), size(i.FreeBytes)))
	out.Row("producers", i.Producers)
	out.Row("cursors", len(cursors))
	if err := out.Flush(); err != nil || len(topics) == 0 {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	held := list.listing(cmd, topicHeads...)
	for _, t := range topics {
		held.add(nil, t.Name, t.Records, size(t.Bytes), t.First, t.Oldest, t.Newest)
	}
	return held.end()
}

// topicHeads are the columns of the table of topics.
var topicHeads = []string{"TOPIC", "RECORDS", "BYTES", "FIRST", "OLDEST", "NEWEST"}

// topicDict returns the statistics of a topic as a server reports them.
func topicDict(t store.TopicStat) *dict.Dict {
	return dict.Of("topic", t.Name, "records", t.Records, "bytes", t.Bytes, "first", t.First.String(), "next", t.Next.String(),
		"oldest", timestamp(t.Oldest), "newest", timestamp(t.Newest))
}
