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
		Short: "Forget the numbers that a producer has used",
		Long: "forget-producer makes a producer unknown: its next records are stored, whatever their\n" +
			"numbers are. Its earlier records stay. Use it for a producer that has lost its own state,\n" +
			"or that will never come back; serve forgets a producer by itself 90 days after its last\n" +
			"session.",
		Example: "  dictwire store forget-producer till-7 --topic orders",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Name = args[0]
			if p.Topic == "" {
				return usagef("set the topic of %s with --topic", p.Name)
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
	flags.StringVar(&p.Principal, "principal", store.Anonymous, "`who` it is, if clients are authenticated")
	return cmd
}
