package cli

import (
	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func storeForgetCommand() *cobra.Command {
	var (
		f storeFlag
		p store.Producer
	)
	cmd := &cobra.Command{
		Use:   "forget-producer NAME --topic TOPIC",
		Short: "Forget which numbers a producer has used",
		Long: "forget-producer makes a producer unknown: what it sends next is stored, whatever its\n" +
			"numbers are. Its records stay. That is for a producer whose own memory is lost, or that\n" +
			"shall never come again; without it, serve forgets it 90 days after its last session.",
		Example: "  dictwire store forget-producer till-7 --topic orders",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Name = args[0]
			if p.Topic == "" {
				return usagef("--topic says to which topic %s writes", p.Name)
			}
			if err := p.Check(); err != nil {
				return usageError{err}
			}
			return f.with(cmd.Context(), log.Options{}, func(s *log.Store) error { return s.Forget(cmd.Context(), p) })
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.StringVar(&p.Topic, "topic", "", "the `topic` to which it writes")
	flags.StringVar(&p.Principal, "principal", store.Anonymous, "`who` it is, where clients are authenticated")
	return cmd
}
