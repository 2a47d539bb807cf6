package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/auth"
)

// doors are the flags of who is let in, and how.
type doors struct {
	tokens    tokensFlag
	files     auth.TLSFiles
	plaintext networksFlag
}

func (d *doors) add(flags *pflag.FlagSet) {
	d.tokens.add(flags)
	flags.StringVar(&d.files.Cert, "tls-cert", "", "`file` with the server's certificate: clients have to speak TLS (see cert)")
	flags.StringVar(&d.files.Key, "tls-key", "", "`file` with the private key of --tls-cert, where it is not in the same file")
	flags.StringVar(&d.files.ClientCA, "tls-client-ca", "", "`file` with the roots of certificates by which clients may say who they are")
	flags.Var(&d.plaintext, "plaintext-from", "networks from which clients need not speak TLS, as 10.1.0.0/16; may be repeated")
}

// A networksFlag is networks.
type networksFlag struct{ all []netip.Prefix }

// Set adds networks.
func (f *networksFlag) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		n, err := auth.ParseNetwork(part)
		if err != nil {
			return err
		}
		f.all = append(f.all, n)
	}
	return nil
}

func (f *networksFlag) String() string {
	texts := make([]string, 0, len(f.all))
	for _, n := range f.all {
		texts = append(texts, n.String())
	}
	return strings.Join(texts, ",")
}

// Type names the value in help texts.
func (*networksFlag) Type() string { return "networks" }

// open reads the files, and returns the endpoint for a listener. end ends the watch over
// them.
func (d *doors) open(l net.Listener, log *slog.Logger, say func(string, ...any)) (at dictwire.Endpoint, end func(), err error) {
	at = dictwire.Endpoint{Listener: l, PlaintextFrom: d.plaintext.all}
	var closing []func() error
	end = func() {
		for _, c := range closing {
			_ = c() // it has nothing to say
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	o := &auth.Options{Logger: log}
	if d.files.Cert == "" && (d.files.Key != "" || d.files.ClientCA != "" || len(d.plaintext.all) > 0) {
		return at, end, usagef("--tls-key, --tls-client-ca and --plaintext-from want --tls-cert, without which there is no TLS")
	}
	if d.files.ClientCA != "" && d.tokens.path == "" {
		return at, end, usagef("--tls-client-ca wants --tokens, which says what a certificate is good for")
	}
	if d.tokens.path != "" {
		tokens, err := auth.Open(d.tokens.path, o)
		if errors.Is(err, fs.ErrNotExist) {
			err = hintError{err, "dictwire token create makes the file"}
		}
		if err != nil {
			return at, end, err
		}
		closing = append(closing, tokens.Close)
		at.Authorizer = tokens
	}
	if d.files.Cert == "" {
		if at.Authorizer != nil && isReached(l) {
			say("tokens and records cross the network in the clear: --tls-cert names a certificate, and dictwire cert makes one")
		}
		return at, end, nil
	}
	secure, err := auth.OpenTLS(d.files, o)
	if errors.Is(err, fs.ErrNotExist) {
		err = hintError{err, "dictwire cert makes a certificate for trying out"}
	}
	if err != nil {
		return at, end, err
	}
	closing = append(closing, secure.Close)
	at.TLS = secure.Config()
	say("speaking TLS as %s", describe(at.TLS))
	return at, end, nil
}

// describe says whose certificate a server shows.
func describe(c *tls.Config) string {
	c, err := c.GetConfigForClient(nil)
	if err != nil || len(c.Certificates) == 0 || c.Certificates[0].Leaf == nil {
		return "-"
	}
	leaf := c.Certificates[0].Leaf
	return fmt.Sprintf("%s, until %s", strings.Join(hosts(leaf), ", "), moment(leaf.NotAfter))
}

// hosts returns the names and addresses that a certificate is of.
func hosts(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
