package cli

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/auth"
)

// tokenVariable holds the token itself. There is no flag for it, since everybody can see
// command lines.
const tokenVariable = "DICTWIRE_TOKEN" //nolint:gosec // the name, not the token

// identityFlags say who the client is, and who the server must be.
type identityFlags struct {
	tokenFile string
	token     string // set by readToken

	tls           bool
	ca, cert, key string
	config        *tls.Config // set by readTLS; nil: no TLS unless the address asks for it
}

func (t *identityFlags) addIdentity(flags *pflag.FlagSet) {
	flags.StringVar(&t.tokenFile, "token-file", "", "`file` with the token that says to the server who you are; "+tokenVariable+" has the token itself")
	flags.BoolVar(&t.tls, "tls", false, "speak TLS with the server, as with an address tls://host:port")
	flags.StringVar(&t.ca, "ca", "", "`file` with the roots that the server's certificate has to come from, in place of the system's; with --tls")
	flags.StringVar(&t.cert, "cert", "", "`file` with a certificate that says to the server who you are; with --tls")
	flags.StringVar(&t.key, "key", "", "`file` with the private key of --cert, where it is not in the same file")
}

// readIdentity reads the files that the flags name.
func (t *identityFlags) readIdentity(cmd *cobra.Command) error {
	if err := t.readToken(cmd); err != nil {
		return err
	}
	return t.readTLS()
}

// readTLS makes the TLS configuration.
func (t *identityFlags) readTLS() error {
	if t.key != "" && t.cert == "" {
		return usagef("--key wants --cert, whose private key it is")
	}
	if !t.tls && t.ca == "" && t.cert == "" {
		return nil
	}
	t.config = &tls.Config{MinVersion: tls.VersionTLS12}
	if t.ca != "" {
		roots, err := auth.ReadRoots(t.ca)
		if err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
		t.config.RootCAs = roots
	}
	if t.cert == "" {
		return nil
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(t.cert, cmp.Or(t.key, t.cert))
		return &cert, err
	}
	if _, err := load(); err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	// Read it again for each connection, since it may have been renewed.
	t.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return nil
}

// as returns d with the identity.
func (t *identityFlags) as(d dictwire.Dialer) dictwire.Dialer {
	d.Token, d.TLS = t.token, t.config
	return d
}

// readToken finds the token: in the file of the flag, or in tokenVariable, or in the file
// of the flag's variable.
func (t *identityFlags) readToken(cmd *cobra.Command) error {
	t.token = os.Getenv(tokenVariable)
	from := tokenVariable
	if t.tokenFile != "" && (t.token == "" || given(cmd, "token-file")) {
		from = t.tokenFile
		var err error
		if t.token, err = readFirst(t.tokenFile, maxToken+2); err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		if t.token = strings.TrimRight(t.token, "\r\n"); t.token == "" {
			return fmt.Errorf("--token-file: %s holds no token", from)
		}
	}
	if len(t.token) > maxToken || strings.ContainsFunc(t.token, func(r rune) bool { return r < ' ' || r == 0x7F }) {
		return fmt.Errorf("%s: want one line of at most %d bytes that is a token", from, maxToken)
	}
	return nil
}

// maxToken is the longest token, in bytes, that fits into a greeting.
const maxToken = 4 << 10

// readFirst returns at most n bytes of a file.
func readFirst(path string, n int64) (string, error) {
	f, err := os.Open(path) //nolint:gosec // it is the user's to say which
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, n))
	return string(b), errors.Join(err, f.Close())
}
