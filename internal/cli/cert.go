package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/internal/devca"
)

// A certs is the command cert with its flags.
type certs struct {
	dir     string
	client  string
	expires ageFlag
}

func certCommand() *cobra.Command {
	c := &certs{expires: ageFlag{"365d", 365 * 24 * time.Hour}}
	cmd := &cobra.Command{
		Use:   "cert [HOST…]",
		Short: "Make certificates for trying TLS out",
		Long: "cert makes a certificate for a server that is reached by these names and addresses\n" +
			"(localhost, 127.0.0.1 and ::1 where none are given), or by --client one for a client, and\n" +
			"the root that they come from, where there is none yet. Run again, it renews them: a server\n" +
			"reads them again within a second. Whoever has ca-key.pem can make certificates that its\n" +
			"users believe. For production, use those of an authority.",
		Example: "  dictwire cert\n" +
			"  dictwire cert dictwire.example 192.0.2.7\n" +
			"  dictwire cert --client till-7\n" +
			"  dictwire serve --tls-cert certs/server.pem --tls-key certs/server-key.pem --tokens tokens.json\n" +
			"  dictwire send --ca certs/ca.pem tls://localhost:65432 n:=1",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.dir, "dir", "certs", "`directory` of the certificates and keys")
	flags.StringVar(&c.client, "client", "", "make a certificate for a client of this `name`")
	flags.Var(&c.expires, "expires", "how long the certificate is valid, as 90d")
	return cmd
}

// isHost matches the names and addresses that a certificate may be for.
var isHost = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9._:-]*[A-Za-z0-9_])?$|^::[0-9a-fA-F:.]*$`)

func (c *certs) run(cmd *cobra.Command, args []string) error {
	names, file := args, "server"
	switch {
	case c.client != "" && len(args) > 0:
		return usagef("--client makes no certificate for a server: %s", strings.Join(args, " "))
	case c.client != "":
		names, file = []string{c.client}, "client-"+c.client
	case len(args) == 0:
		names = []string{"localhost", "127.0.0.1", "::1"}
	}
	for _, name := range names {
		if !isHost.MatchString(name) {
			return usagef("%q, want a name or an address", name)
		}
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(c.dir, name+".pem") }
	ca, made, err := devca.Open(at("ca"), at("ca-key"))
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	if made {
		say(stderr, "%s is the root, for those who connect; its key, %s, is for nobody else", at("ca"), at("ca-key"))
	}
	err = ca.Issue(devca.Request{Names: names, Client: c.client != "", Until: c.expires.from(time.Now())}, at(file), at(file+"-key"))
	if errors.Is(err, devca.ErrTooLong) {
		return usagef("--expires: %w", err)
	}
	if err != nil {
		return err
	}
	say(stderr, "%s is the certificate of %s, %s its key", at(file), strings.Join(names, ", "), at(file+"-key"))
	use := fmt.Sprintf("dictwire serve --tls-cert %s --tls-key %s shows it", at(file), at(file+"-key"))
	if c.client != "" {
		use = fmt.Sprintf("dictwire send --ca %s --cert %s --key %s shows it; dictwire token create --certificate %s says what it is good for",
			at("ca"), at(file), at(file+"-key"), c.client)
	}
	hint(stderr, use)
	return nil
}
