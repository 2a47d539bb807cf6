package cli

import (
	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store/log"
)

func storeTrimCommand() *cobra.Command {
	var (
		f      storeFlag
		before pointFlag
	)
	cmd := &cobra.Command{
		Use:   "trim TOPIC --before POINT",
		Short: "Delete a topic's older records",
		Long: "trim permanently deletes the records of a topic before a point. It deletes whole blocks,\n" +
			"so a few records before the point may stay. Producers and cursors are not changed.",
		Example: "  dictwire store trim orders --before 30d\n" +
			"  dictwire store trim orders --before 2026-11-23T10:00Z",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if before.text == "" {
				return usagef("set the point with --before")
			}
			return f.with(cmd.Context(), log.Options{}, func(s *log.Store) error {
				return storeTrim(cmd, s, args[0], before.Point)
			})
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.Var(&before, "before", "the first record to keep: "+point.Help)
	return cmd
}

func storeDropCommand() *cobra.Command {
	var f storeFlag
	cmd := &cobra.Command{
		Use:   "drop TOPIC",
		Short: "Delete all records of a topic",
		Long: "drop permanently deletes all records of a topic. Its producers continue with their next\n" +
			"numbers, and no position is used again.",
		Example: "  dictwire store drop orders",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), log.Options{}, func(s *log.Store) error {
				return storeTrim(cmd, s, args[0], point.Latest())
			})
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// storeTrim deletes the records of a topic before a point, and reports how many.
func storeTrim(cmd *cobra.Command, s *log.Store, topic string, before point.Point) error {
	ctx := cmd.Context()
	held, err := aTopic(ctx, s, topic)
	if err != nil {
		return err
	}
	to, err := before.In(ctx, s)
	if err != nil {
		return err
	}
	if err := s.Trim(ctx, topic, to); err != nil {
		return err
	}
	left, err := aTopic(ctx, s, topic)
	if err != nil {
		return err
	}
	say(cmd.ErrOrStderr(), "%s deleted, %d left",
		count(int64(held.Records-min(left.Records, held.Records)), "record", "records"), left.Records)
	return nil
}
