package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/auth"
	"github.com/dictwire/dictwire/dialect/forward"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/address"
	"github.com/dictwire/dictwire/store"
)

// dialects are those of the command line in addition to those of every server. HTTP is
// the first.
var dialects = []dictwire.Dialect{web.Dialect, forward.Dialect}

// A door is where a server is reached, who is let in, and how: an endpoint of the
// configuration file, or the one that flags describe.
type door struct {
	listen    string
	insecure  bool
	tokens    tokensFlag
	files     auth.TLSFiles
	plaintext networksFlag
	dialects  listFlag
	send      listFlag
	read      listFlag
}

func (d *door) add(flags *pflag.FlagSet) {
	flags.StringVar(&d.listen, "listen", address.Default, "`address`: host:port, unix:PATH or fd:N")
	flags.BoolVar(&d.insecure, "insecure", false, "listen on an address that other machines reach, and let everybody send and read everything")
	d.tokens.add(flags)
	flags.StringVar(&d.files.Cert, "tls-cert", "", "`file` with the server's certificate: clients have to speak TLS (see cert)")
	flags.StringVar(&d.files.Key, "tls-key", "", "`file` with the private key of --tls-cert, where it is not in the same file")
	flags.StringVar(&d.files.ClientCA, "tls-client-ca", "", "`file` with the roots of certificates by which clients may say who they are")
	flags.Var(&d.plaintext, "plaintext-from", "networks from which clients need not speak TLS, as 10.1.0.0/16; may be repeated")
	d.dialects.kind, d.dialects.check = "dialects", checkDialect
	flags.Var(&d.dialects, "dialects", "what is spoken: "+strings.Join(dialectNames(), ", ")+"; may be repeated (default all)")
	d.send.kind, d.send.check = "topics", store.CheckPattern
	flags.Var(&d.send, "may-send", "topics to which clients may send here at most, as orders.*, or none; may be repeated (default all)")
	d.read.kind, d.read.check = "topics", store.CheckPattern
	flags.Var(&d.read, "may-read", "topics that clients may read here at most, as --may-send")
}

// dialectNames returns the names of all dialects of a server.
func dialectNames() []string {
	names := []string{"native", "stream", "framed"} // of every server
	for _, d := range dialects {
		names = append(names, d.Kind().Name)
	}
	return names
}

func checkDialect(name string) error {
	if names := dialectNames(); !slices.Contains(names, name) {
		return fmt.Errorf("want one of %s", strings.Join(names, ", "))
	}
	return nil
}

func checkOrigin(origin string) error {
	_, err := web.New(&web.Options{AllowOrigins: []string{origin}})
	return err
}

// A listFlag is a list of words. A nil list and an empty one differ.
type listFlag struct {
	kind  string
	check func(string) error
	all   []string
}

// none is the word for an empty list.
const none = "none"

// Set adds words.
func (f *listFlag) Set(s string) error {
	if s == none {
		f.all = []string{}
		return nil
	}
	words, err := wordsOf(s, f.check)
	f.all = append(f.all, words...)
	return err
}

// wordsOf splits a comma-separated list, and checks each word.
func wordsOf(s string, check func(string) error) ([]string, error) {
	words := strings.Split(s, ",")
	for _, word := range words {
		if err := check(word); err != nil {
			return nil, err
		}
	}
	return words, nil
}

func (f *listFlag) String() string {
	if f.all != nil && len(f.all) == 0 {
		return none
	}
	return strings.Join(f.all, ",")
}

// Type names the value in help texts.
func (f *listFlag) Type() string { return f.kind }

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

// check returns an error if settings exclude each other.
func (d *door) check() error {
	var faults []error
	if d.files.Cert == "" && (d.files.Key != "" || d.files.ClientCA != "" || len(d.plaintext.all) > 0) {
		faults = append(faults, usagef("--tls-key, --tls-client-ca and --plaintext-from want --tls-cert, without which there is no TLS"))
	}
	if d.files.ClientCA != "" && d.tokens.path == "" {
		faults = append(faults, usagef("--tls-client-ca wants --tokens, which says what a certificate is good for"))
	}
	return errors.Join(faults...)
}

// open listens, and reads the files. end stops watching them and closes the listener.
func (d *door) open(ctx context.Context, log *slog.Logger, say func(string, ...any)) (at dictwire.Endpoint, end func(), err error) {
	l, err := d.bind(ctx)
	if err != nil {
		return at, nil, err
	}
	at, forget, err := d.behind(l, log, say)
	if err != nil {
		_ = l.Close()
		return at, nil, err
	}
	return at, func() {
		forget()
		_ = l.Close()
	}, nil
}

// bind listens. It refuses unprotected addresses that other machines can reach.
func (d *door) bind(ctx context.Context) (net.Listener, error) {
	l, err := dictwire.Listen(ctx, d.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		if strings.HasPrefix(d.listen, "unix:") {
			return nil, hintError{err, "another program has the socket; stop it, or --listen unix:PATH with another path"}
		}
		return nil, hintError{err, "another server runs there; --listen 127.0.0.1:0 takes any free port"}
	}
	if err != nil {
		return nil, err
	}
	if isReached(l) && !d.insecure && d.tokens.path == "" {
		_ = l.Close()
		return nil, hintError{
			fmt.Errorf("refusing to listen on %s: everybody who reaches it could send and read everything", l.Addr()),
			"`dictwire token create --tokens tokens.json --name me --send --read` and `dictwire serve --listen " + d.listen +
				" --tokens tokens.json` let in who has a token; --insecure lets in everybody",
		}
	}
	return l, nil
}

// behind reads the files and returns the endpoint for a listener, which is nil if the files
// are only to be checked. end stops watching them.
func (d *door) behind(l net.Listener, log *slog.Logger, say func(string, ...any)) (at dictwire.Endpoint, end func(), err error) {
	at = dictwire.Endpoint{Listener: l, PlaintextFrom: d.plaintext.all, Dialects: d.dialects.all}
	var closing []func() error
	end = func() {
		for _, c := range closing {
			_ = c() // its error says nothing
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	o := &auth.Options{Logger: log}
	if d.tokens.path != "" {
		tokens, err := auth.Open(d.tokens.path, o)
		if errors.Is(err, fs.ErrNotExist) {
			err = hintError{err, "dictwire token create makes the file"}
		}
		if err != nil {
			return at, end, err
		}
		closing = append(closing, tokens.Close)
		at.Authorizer = tokens.Authorize
	}
	if d.files.Cert != "" {
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
	} else if at.Authorizer != nil && l != nil && isReached(l) {
		say("tokens and records cross the network in the clear: --tls-cert names a certificate, and dictwire cert makes one")
	}
	at.Authorizer = d.limited(at.Authorizer)
	return at, end, nil
}

// limited returns an Authorizer that grants the rights of another one, as far as the door
// allows them.
func (d *door) limited(by access.Authorizer) access.Authorizer {
	if d.send.all == nil && d.read.all == nil {
		return by
	}
	most := auth.Entry{Send: d.send.all, Read: d.read.all}
	if d.send.all == nil {
		most.Send = []string{"*", "_*"}
	}
	if d.read.all == nil {
		most.Read = []string{"*", "_*"}
	}
	return func(ctx context.Context, c access.Credentials) (access.Grant, error) {
		var (
			g   access.Grant
			err error
		)
		if by != nil {
			g, err = by(ctx, c)
		}
		allows := g.Allows
		g.Allows = func(right access.Right, topic string) bool {
			return most.Allows(right, topic) && (allows == nil || allows(right, topic))
		}
		return g, err
	}
}

// isReached reports whether other machines can reach a listener.
func isReached(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

func where(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

// describe returns a description of a server's certificate.
func describe(c *tls.Config) string {
	c, err := c.GetConfigForClient(nil)
	if err != nil || len(c.Certificates) == 0 || c.Certificates[0].Leaf == nil {
		return "-"
	}
	leaf := c.Certificates[0].Leaf
	return fmt.Sprintf("%s, until %s", strings.Join(hosts(leaf), ", "), moment(leaf.NotAfter))
}

// hosts returns the names and addresses of a certificate.
func hosts(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
