package cli

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/relay"
	"github.com/dictwire/dictwire/store"
)

// A relaying is the command relay with its flags.
type relaying struct {
	serve
	identityFlags

	to         string
	name       string
	acceptLost bool
}

func relayCommand() *cobra.Command {
	r := &relaying{serve: serve{fresh: relayCommand}}
	r.print, r.store.name = choice{value: "none"}, "dictwire-relay"
	r.beside, r.prepare, r.more = r.pass, r.own, r.checkRelay
	cmd := &cobra.Command{
		Use:   "relay [ADDRESS]",
		Short: "Receive dictionaries and pass them on to another dictwire",
		Long: "relay is a server near those who send, which passes on all that it stores to the server\n" +
			"at ADDRESS: topic by topic, in order, each dictionary once, whatever is stopped, killed\n" +
			"or cut off meanwhile, for as long as the disk holds what waits. Senders have their\n" +
			"acknowledgement when it is stored here. What has arrived is deleted here.\n\n" +
			"What the other server rejects is logged and kept: see rejected. SIGINT and SIGTERM end\n" +
			"it as they end serve; what is not passed on by then is, after the next start.",
		Example: "  dictwire relay central.example:65432\n" +
			"  dictwire relay --store /var/lib/dictwire-relay --listen unix:/run/dictwire.sock 10.0.0.1:65432",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if err := give(cmd, "to", args[0]); err != nil {
					return err
				}
			}
			return r.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.store.dir, "store", "", "`directory` of what waits (default dictwire-relay in $XDG_STATE_HOME or ~/.local/state)")
	flags.StringVar(&r.to, "to", "", "`address` of the server to pass on to, in place of ADDRESS")
	flags.StringVar(&r.name, "name", "", "beginning of the `name` under which the records are passed on, when the store is new")
	flags.BoolVar(&r.acceptLost, "accept-lost", false, "go on where the other server has less than it acknowledged: it was restored from a backup, or is another one")
	r.addIdentity(flags)
	r.addServing(flags)
	return cmd
}

func (r *relaying) run(cmd *cobra.Command) error {
	if err := r.readIdentity(cmd); err != nil {
		return err
	}
	return r.serve.run(cmd)
}

// checkRelay returns what is wrong with the settings of a relay.
func (r *relaying) checkRelay() error {
	if r.to == "" {
		return usagef("ADDRESS, or --to, names the server to pass on to")
	}
	if host, port, ok := strings.Cut(r.to, ":"); !ok || port == "" || host == "" {
		return usagef("ADDRESS %q, want host:port or unix:PATH", r.to)
	}
	if err := ledger.CheckPrefix(r.name); err != nil {
		return usagef("--name: %w", err)
	}
	for _, d := range r.doors {
		if r.to == d.listen {
			return usagef("--listen %s is the address to pass on to", r.to)
		}
	}
	if r.store.dir == inMemory {
		return usagef("--store must be a directory: a store in memory ends with the relay")
	}
	return nil
}

func (r *relaying) relay(st store.Store, log *slog.Logger) *relay.Relay {
	return &relay.Relay{
		Store: st, Addr: r.to, Logger: log,
		Dialer: r.as(dictwire.Dialer{Producer: r.name, Limits: r.limits(), AcceptLost: r.acceptLost, MaxBackoff: 10 * time.Second, Logger: log}),
	}
}

// own claims the store for the relay, and prints where it continues.
func (r *relaying) own(ctx context.Context, st store.Store) error {
	r.tell("relay to", "passing on to", "%s", r.to)
	return r.relay(st, nil).Prepare(ctx)
}

// pass relays what is stored.
func (r *relaying) pass(ctx context.Context, st store.Store, log *slog.Logger) error {
	on := r.relay(st, log)
	err := on.Run(ctx)
	if n := on.Pending(); n > 0 && errors.Is(err, context.Canceled) {
		r.say("%s not passed on yet", count(int64(n), "dictionary", "dictionaries"))
	}
	return err
}
