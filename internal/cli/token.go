package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/auth"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/store"
)

func tokenCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Say who may use a server, and for what",
		Long: "A file holds who may use a server that is started with serve --tokens: entries with a\n" +
			"credential each, who gives it, and the topics that he may send to and read. token changes\n" +
			"it, also while servers use it: they read it again within a second. Of a token it holds\n" +
			"the hash alone.",
		Example: "  dictwire token create --tokens tokens.json --name till-7 --topic 'orders.*' --send --read --expires 90d\n" +
			"  dictwire token list --tokens tokens.json\n" +
			"  dictwire token rotate --tokens tokens.json till-7\n" +
			"  dictwire token revoke --tokens tokens.json till-7",
	}, tokenCreateCommand(), tokenListCommand(), tokenRotateCommand(), tokenRevokeCommand())
}

// A tokensFlag is the file with everybody's rights.
type tokensFlag struct{ path string }

func (f *tokensFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.path, "tokens", "", "`file` that says who may use the server, and for what: see token")
}

// edit changes the file.
func (f *tokensFlag) edit(create bool, change func(*auth.List) error) error {
	err := auth.Edit(f.path, create, change)
	if errors.Is(err, fs.ErrNotExist) {
		err = hintError{err, "dictwire token create makes the file"}
	}
	return err
}

// check returns an error if the flag is missing.
func (f *tokensFlag) check() error {
	if f.path == "" {
		return usagef("--tokens names the file that says who may use the server")
	}
	return nil
}

// A rightFlag is the topics of a right: those named, or those of --topic.
type rightFlag struct {
	given  bool
	topics []string
}

// byTopic is the value of a right's flag without topics.
const byTopic = "of --topic"

// Set adds topics.
func (r *rightFlag) Set(s string) error {
	r.given = true
	if s == byTopic {
		return nil
	}
	topics, err := wordsOf(s, store.CheckPattern)
	r.topics = append(r.topics, topics...)
	return err
}

func (r *rightFlag) String() string { return strings.Join(r.topics, ",") }

// Type names the value in help texts.
func (*rightFlag) Type() string { return "topics" }

// of returns the topics of the right.
func (r *rightFlag) of(topics []string) []string {
	if r.given && len(r.topics) == 0 {
		return topics
	}
	return r.topics
}

// An ageFlag is a period of validity.
type ageFlag struct {
	text string
	age  time.Duration
}

// Set parses an age.
func (a *ageFlag) Set(s string) (err error) {
	a.text = s
	a.age, err = point.ParseAge(s)
	return err
}

func (a *ageFlag) String() string { return a.text }

// Type names the value in help texts.
func (*ageFlag) Type() string { return "age" }

// from returns the end of the period, or the zero time.
func (a *ageFlag) from(now time.Time) time.Time {
	if a.age == 0 {
		return time.Time{}
	}
	return now.Add(a.age).UTC().Truncate(time.Second)
}

// expiresUsage documents --expires.
const expiresUsage = "how long it is valid, as 90d (default for ever)"

// An outFlag says where a new token goes.
type outFlag struct{ path string }

func (f *outFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.path, "out", "", "new `file` for the token, for its owner alone, in place of standard output")
}

// write writes a token before it becomes valid, so that no token is lost.
func (f *outFlag) write(cmd *cobra.Command, token string) error {
	if f.path == "" {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	}
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, token)
	return errors.Join(err, out.Close())
}

// A tokenCreate is the command token create with its flags.
type tokenCreate struct {
	tokensFlag
	outFlag

	name, principal            string
	topics                     []string
	send, read, admin          rightFlag
	expires                    ageFlag
	network, unix, certificate string
}

func tokenCreateCommand() *cobra.Command {
	c := new(tokenCreate)
	cmd := &cobra.Command{
		Use:   "create --tokens FILE --name NAME",
		Short: "Make a token, and say what it is good for",
		Long: "create makes a token and prints it, this once. --send, --read and --admin give the rights\n" +
			"to the topics of --topic, or to others, as in --send=orders,bills. Nothing is allowed\n" +
			"that is not named: * names all topics but those that begin with _, as _rejected does.\n\n" +
			"Producers and cursors belong to the principal, which outlives its tokens, and of which\n" +
			"there may be several. Who was served before there were tokens is the principal anonymous:\n" +
			"--principal anonymous keeps the names.\n\n" +
			"Programs that can't send a token are told by where they come from, with --network or\n" +
			"--unix, or by the certificate that they show, with --certificate; then no token is made.",
		Example: "  dictwire token create --tokens tokens.json --name till-7 --topic 'orders.*' --send --read --expires 90d\n" +
			"  dictwire token create --tokens tokens.json --name worker --read='orders.*' --send=_rejected,bills --out worker.token\n" +
			"  dictwire token create --tokens tokens.json --name sensors --network 10.1.0.0/16 --send=telemetry\n" +
			"  dictwire token create --tokens tokens.json --name me --unix \"$USER\" --send --read --admin",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("unexpected %q; topics of a right follow an equals sign, as --send=%s", args[0], args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	flags := cmd.Flags()
	c.tokensFlag.add(flags)
	flags.StringVar(&c.name, "name", "", "`name` of the entry")
	flags.StringVar(&c.principal, "principal", "", "`who` gives the credential (default the entry's name)")
	flags.StringArrayVar(&c.topics, "topic", nil, "`topics` of the rights: orders, orders.* or *; may be repeated (default *)")
	for name, right := range map[string]*rightFlag{"send": &c.send, "read": &c.read, "admin": &c.admin} {
		flags.Var(right, name, "the right to "+map[string]string{
			"send": "send to the topics", "read": "read them", "admin": "trim them and move cursors of their readers; of '*', have backups made, too",
		}[name])
		flags.Lookup(name).NoOptDefVal = byTopic
	}
	flags.Var(&c.expires, "expires", expiresUsage)
	flags.StringVar(&c.network, "network", "", "in place of a token, `addresses` as 10.1.0.0/16 of those who give no credential")
	flags.StringVar(&c.unix, "unix", "", "in place of a token, the `user` of a peer on a Unix socket, * for all")
	flags.StringVar(&c.certificate, "certificate", "", "in place of a token, a `name` in client certificates")
	c.outFlag.add(flags)
	return cmd
}

func (c *tokenCreate) run(cmd *cobra.Command) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.name == "" {
		return usagef("--name says what the entry is called")
	}
	topics := c.topics
	if len(topics) == 0 {
		topics = []string{"*"}
	}
	if err := checkPatterns(topics); err != nil {
		return err
	}
	now := time.Now()
	e := auth.Entry{
		Name: c.name, Principal: c.principal, Certificate: c.certificate,
		Send: c.send.of(topics), Read: c.read.of(topics), Admin: c.admin.of(topics),
		Created: now.UTC().Truncate(time.Second), Expires: c.expires.from(now),
	}
	if len(e.Send)+len(e.Read)+len(e.Admin) == 0 {
		return usagef("--send, --read and --admin say what it is good for")
	}
	var err error
	if c.network != "" {
		if e.Network, err = auth.ParseNetwork(c.network); err != nil {
			return usagef("--network: %w", err)
		}
	}
	if c.unix != "" {
		if e.Unix, err = userNumber(c.unix); err != nil {
			return usagef("--unix: %w", err)
		}
	}
	token := ""
	if e.Network == (netip.Prefix{}) && e.Unix == "" && e.Certificate == "" {
		token = auth.NewToken()
		e.Token = auth.HashOf(token)
	} else if c.outFlag.path != "" {
		return usagef("--out is for a token, and none is made")
	}
	if err := e.Check(); err != nil {
		return usageError{err}
	}
	err = c.edit(true, func(l *auth.List) error {
		if l.Find(e.Name) != nil {
			return hintError{fmt.Errorf("there is an entry %q already", e.Name), "dictwire token rotate gives it another token, revoke removes it"}
		}
		l.Entries = append(l.Entries, e)
		if token == "" {
			return nil
		}
		return c.write(cmd, token)
	})
	if err == nil && token != "" && c.outFlag.path == "" {
		say(cmd.ErrOrStderr(), "this is the token of %s; it is not shown again", e.Name)
	}
	return err
}

// userNumber returns the number of a user, who is given by name or number.
func userNumber(name string) (string, error) {
	if name == "*" || strings.Trim(name, "0123456789") == "" {
		return name, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func tokenListCommand() *cobra.Command {
	var (
		f    tokensFlag
		json jsonFlag
	)
	cmd := &cobra.Command{
		Use:     "list --tokens FILE",
		Short:   "Print who may do what",
		Long:    "list prints all entries: who gives which credential, the topics of each right, and until\nwhen it is valid.",
		Example: "  dictwire token list --tokens tokens.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			list, err := auth.Read(f.path)
			if err != nil {
				return err
			}
			out := json.listing(cmd, "NAME", "PRINCIPAL", "CREDENTIAL", "SEND", "READ", "ADMIN", "EXPIRES")
			for _, e := range list.Entries {
				who, by := e.Who(), credentialOf(&e)
				out.add(
					dict.Of("name", e.Name, "principal", who, "credential", by, "send", listed(e.Send), "read", listed(e.Read), "admin", listed(e.Admin), "expires", timestamp(e.Expires)),
					e.Name, who, by, strings.Join(e.Send, ","), strings.Join(e.Read, ","), strings.Join(e.Admin, ","), expiryOf(&e, time.Now()),
				)
			}
			return out.end()
		},
	}
	f.add(cmd.Flags())
	json.addJSON(cmd.Flags())
	return cmd
}

// listed returns topics as a list, never nil.
func listed(topics []string) []string { return append([]string{}, topics...) }

// credentialOf describes an entry's credential for people.
func credentialOf(e *auth.Entry) string {
	switch {
	case e.Certificate != "":
		return "certificate " + e.Certificate
	case e.Unix != "":
		return "user " + e.Unix
	case e.Network.IsValid():
		return "network " + e.Network.String()
	case e.OldToken != (auth.Hash{}) && time.Now().Before(e.OldExpires):
		return "token, and its predecessor until " + moment(e.OldExpires)
	default:
		return "token"
	}
}

// expiryOf returns a cell that says when an entry expires.
func expiryOf(e *auth.Entry, now time.Time) any {
	if e.Expires.IsZero() || now.Before(e.Expires) {
		return e.Expires
	}
	return "expired " + moment(e.Expires)
}

func tokenRotateCommand() *cobra.Command {
	var (
		f                tokensFlag
		out              outFlag
		overlap, expires ageFlag
	)
	cmd := &cobra.Command{
		Use:   "rotate NAME --tokens FILE",
		Short: "Give an entry another token",
		Long: "rotate makes another token for an entry and prints it, this once. Rights, principal,\n" +
			"producers and cursors stay as they are. The token before it is not valid any more, or,\n" +
			"with --overlap, for so long, so that nobody is cut off.",
		Example: "  dictwire token rotate --tokens tokens.json till-7\n" +
			"  dictwire token rotate --tokens tokens.json till-7 --overlap 1d --expires 90d --out till-7.new",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			token := auth.NewToken()
			err := f.edit(false, func(l *auth.List) error {
				e := l.Find(args[0])
				switch {
				case e == nil:
					return noEntry(args[0])
				case e.Token == auth.Hash{}:
					return fmt.Errorf("%q has no token: it is told by %s", e.Name, credentialOf(e))
				}
				now := time.Now()
				e.OldToken, e.OldExpires = auth.Hash{}, time.Time{}
				if overlap.age > 0 {
					e.OldToken, e.OldExpires = e.Token, overlap.from(now)
				}
				e.Token, e.Created = auth.HashOf(token), now.UTC().Truncate(time.Second)
				if expires.age > 0 {
					e.Expires = expires.from(now)
				}
				if !e.Expires.IsZero() && !now.Before(e.Expires) {
					return hintError{fmt.Errorf("%q has expired", e.Name), "--expires says how long it is valid from now on"}
				}
				return out.write(cmd, token)
			})
			if err == nil && out.path == "" {
				say(cmd.ErrOrStderr(), "this is the token of %s; it is not shown again", args[0])
			}
			return err
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.Var(&overlap, "overlap", "how long the token before it stays valid, as 1d (default not at all)")
	flags.Var(&expires, "expires", expiresUsage)
	out.add(flags)
	return cmd
}

func tokenRevokeCommand() *cobra.Command {
	var f tokensFlag
	cmd := &cobra.Command{
		Use:   "revoke NAME… --tokens FILE",
		Short: "Remove entries: who gives their credentials is not let in any more",
		Long: "revoke removes entries. Servers that use the file end their sessions within a second. What\n" +
			"the principal has sent, its producers and its cursors stay.",
		Example: "  dictwire token revoke --tokens tokens.json till-7",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return f.edit(false, func(l *auth.List) error {
				for _, name := range args {
					if l.Find(name) == nil {
						return noEntry(name)
					}
				}
				l.Entries = slices.DeleteFunc(l.Entries, func(e auth.Entry) bool { return slices.Contains(args, e.Name) })
				return nil
			})
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func noEntry(name string) error {
	return hintError{fmt.Errorf("no entry %q", name), "dictwire token list lists them"}
}
