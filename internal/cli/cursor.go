package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func cursorCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "cursor",
		Short: "Look at the saved positions of readers, and move them",
		Long: "A cursor is a name under which a reader saves how far it has come. cursor works on the\n" +
			"directory of a store, which no server may have open meanwhile, but for list.",
		Example: "  dictwire cursor list\n  dictwire cursor reset billing --to 24h\n  dictwire cursor drop billing",
	}, cursorListCommand(), cursorResetCommand(), cursorDropCommand())
}

func cursorListCommand() *cobra.Command {
	var (
		f    storeFlag
		list jsonFlag
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Print all cursors and where they stand",
		Long:    "list prints all cursors of a store, what they read, where they stand, and since when.",
		Example: "  dictwire cursor list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.look(cmd, nil, func(s *log.Store) error {
				all, err := s.Cursors(cmd.Context())
				if err != nil {
					return err
				}
				out := list.listing(cmd, "CURSOR", "READS", "POSITION", "SAVED", "PRINCIPAL")
				for _, c := range all {
					at := c.Position.String()
					out.add(
						dict.Of("cursor", c.Name, "subscription", c.Subscription, "position", at, "saved", timestamp(c.Saved), "principal", c.Principal),
						c.Name, c.Subscription, at, c.Saved, c.Principal,
					)
				}
				return out.end()
			})
		},
	}
	f.add(cmd.Flags())
	list.addJSON(cmd.Flags())
	return cmd
}

// A cursorFlags selects a cursor of a store.
type cursorFlags struct {
	storeFlag

	subscription string
	principal    string
}

func (c *cursorFlags) add(flags *pflag.FlagSet) {
	c.storeFlag.add(flags)
	flags.StringVar(&c.subscription, "reads", "", "what it reads, as list prints it, where several have the name: `topics`")
	flags.StringVar(&c.principal, "principal", "", "`whose` it is, where several have the name")
}

func cursorDropCommand() *cobra.Command {
	c := new(cursorFlags)
	cmd := &cobra.Command{
		Use:     "drop NAME",
		Short:   "Delete a cursor",
		Long:    "drop deletes a cursor: a reader that comes with its name begins anew.",
		Example: "  dictwire cursor drop billing\n  dictwire cursor drop billing --reads 'orders.*'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), log.Options{}, func(s *log.Store) error {
				found, err := c.find(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				return s.ForgetCursor(cmd.Context(), found.CursorName)
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

// A cursorReset is the command cursor reset with its flags.
type cursorReset struct {
	cursorFlags

	to pointFlag
}

func cursorResetCommand() *cobra.Command {
	c := new(cursorReset)
	cmd := &cobra.Command{
		Use:   "reset NAME --to POINT",
		Short: "Move a cursor",
		Long: "reset moves a cursor, back too: its reader goes on from there. A reader itself never\n" +
			"moves it back.",
		Example: "  dictwire cursor reset billing --to earliest\n" +
			"  dictwire cursor reset billing --reads 'orders.*' --to k3f9a2bc.18234.0",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.to.text == "" {
				return usagef("--to says where the cursor shall stand")
			}
			return c.with(cmd.Context(), log.Options{}, func(s *log.Store) error { return c.run(cmd, s, args[0]) })
		},
	}
	flags := cmd.Flags()
	c.add(flags)
	flags.Var(&c.to, "to", "where it shall stand: "+point.Help)
	return cmd
}

func (c *cursorReset) run(cmd *cobra.Command, s *log.Store, name string) error {
	ctx := cmd.Context()
	found, err := c.find(ctx, s, name)
	if err != nil {
		return err
	}
	to, err := c.to.In(ctx, s)
	if err != nil {
		return err
	}
	if err := s.Reset(ctx, found.CursorName, to); err != nil {
		return err
	}
	now, _, err := s.Cursor(ctx, found.CursorName)
	if err != nil {
		return err
	}
	say(cmd.ErrOrStderr(), "%s moved from %s to %s", name, orDash(found.Position.String()), orDash(now.String()))
	return nil
}

// find returns the only cursor with the name.
func (c *cursorFlags) find(ctx context.Context, s *log.Store, name string) (store.SavedCursor, error) {
	all, err := s.Cursors(ctx)
	if err != nil {
		return store.SavedCursor{}, err
	}
	var found []store.SavedCursor
	var reads []string
	for _, saved := range all {
		if saved.Name == name && (c.subscription == "" || c.subscription == saved.Subscription) &&
			(c.principal == "" || c.principal == saved.Principal) {
			found = append(found, saved)
			reads = append(reads, saved.Subscription)
		}
	}
	switch len(found) {
	case 0:
		return store.SavedCursor{}, hintError{fmt.Errorf("no cursor %q in this store", name), "dictwire cursor list lists them"}
	case 1:
		return found[0], nil
	default:
		return store.SavedCursor{}, hintError{
			fmt.Errorf("%d cursors are called %q: of %s", len(found), name, strings.Join(reads, ", ")),
			"--reads, or --principal, says which",
		}
	}
}
