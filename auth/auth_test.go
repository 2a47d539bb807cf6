package auth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/auth"
	"github.com/dictwire/dictwire/internal/testlog"
)

const (
	tokenA = "dw_a"
	tokenB = "dw_b"
)

// file returns a file with entries.
func file(t *testing.T, entries string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.json")
	put(t, path, entries)
	return path
}

// put replaces a file by one with entries.
func put(t *testing.T, path, entries string) {
	t.Helper()
	write(t, path, `{"dictwire_tokens": 1, "entries": [`+entries+`]}`)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// entry returns an entry with a token.
func entry(name, token, more string) string {
	return fmt.Sprintf(`{"name": %q, "sha256": %q%s}`, name, auth.HashOf(token), more)
}

func open(t *testing.T, path string, o *auth.Options) *auth.File {
	t.Helper()
	f, err := auth.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func tcp(addr string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)) }

func uid(n uint32) *uint32 { return &n }

func withCert(verified bool, c x509.Certificate) *tls.ConnectionState {
	s := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{&c}}
	if verified {
		s.VerifiedChains = [][]*x509.Certificate{{&c}}
	}
	return s
}

// Each credential identifies the principal of its entry, and other credentials nobody.
func TestAuthorize(t *testing.T) {
	f := open(t, file(t, strings.Join([]string{
		entry("a", tokenA, `, "principal": "shop"`),
		entry("b", tokenB, `, "expires": "2020-01-01T00:00:00Z"`),
		`{"name": "c", "certificate": "till.example"}`,
		`{"name": "ci", "certificate": "spiffe://shop/till"}`,
		`{"name": "me", "unix": "1000"}`,
		`{"name": "lan", "network": "10.0.0.0/8"}`,
		`{"name": "till", "network": "10.1.2.3"}`,
		`{"name": "six", "network": "2001:db8::/32"}`,
	}, ",")), nil)
	uri, _ := url.Parse("spiffe://shop/till")
	tests := map[string]struct {
		c    access.Credentials
		want string // "": unauthenticated
	}{
		"token":                     {access.Credentials{Token: tokenA}, "shop"},
		"token from a network":      {access.Credentials{Token: tokenA, RemoteAddr: tcp("10.1.1.1:5")}, "shop"},
		"wrong token":               {access.Credentials{Token: "dw_x"}, ""},
		"token cut off":             {access.Credentials{Token: tokenA[:3], RemoteAddr: tcp("10.1.1.1:5")}, ""},
		"wrong token, good address": {access.Credentials{Token: "dw_x", RemoteAddr: tcp("10.1.1.1:5")}, ""},
		"its hash":                  {access.Credentials{Token: auth.HashOf(tokenA).String()}, ""},
		"expired":                   {access.Credentials{Token: tokenB}, ""},
		"nothing":                   {access.Credentials{}, ""},
		"another address":           {access.Credentials{RemoteAddr: tcp("11.1.1.1:5")}, ""},
		"network":                   {access.Credentials{RemoteAddr: tcp("10.1.1.1:5")}, "lan"},
		"network, mapped":           {access.Credentials{RemoteAddr: tcp("[::ffff:10.1.1.1]:5")}, "lan"},
		"narrowest network":         {access.Credentials{RemoteAddr: tcp("10.1.2.3:5")}, "till"},
		"IPv6":                      {access.Credentials{RemoteAddr: tcp("[2001:db8::7%eth0]:5")}, "six"},
		"user":                      {access.Credentials{UID: uid(1000), RemoteAddr: &net.UnixAddr{}}, "me"},
		"another user":              {access.Credentials{UID: uid(0), RemoteAddr: &net.UnixAddr{}}, ""},
		"certificate":               {access.Credentials{TLS: withCert(true, x509.Certificate{DNSNames: []string{"x", "till.example"}})}, "c"},
		"certificate's URI":         {access.Credentials{TLS: withCert(true, x509.Certificate{URIs: []*url.URL{uri}})}, "ci"},
		"not verified":              {access.Credentials{TLS: withCert(false, x509.Certificate{DNSNames: []string{"till.example"}})}, ""},
		"certificate without name":  {access.Credentials{TLS: withCert(true, x509.Certificate{}), RemoteAddr: tcp("10.1.1.1:5")}, ""},
		"token before certificate":  {access.Credentials{Token: tokenA, TLS: withCert(true, x509.Certificate{DNSNames: []string{"till.example"}})}, "shop"},
		"TLS without certificate":   {access.Credentials{TLS: new(tls.ConnectionState), RemoteAddr: tcp("10.1.1.1:5")}, "lan"},
	}
	for name, test := range tests {
		g, err := f.Authorize(t.Context(), test.c)
		if g.Principal != test.want || (err == nil) == (test.want == "") || err != nil && !errors.Is(err, dictwire.ErrUnauthenticated) {
			t.Errorf("%s: %q, %v, want %q", name, g.Principal, err, test.want)
		}
	}
}

// A right is for the named topics only. To read by a pattern, the entry must cover
// everything that the pattern matches.
func TestRights(t *testing.T) {
	f := open(t, file(t, entry("a", tokenA, `, "send": ["orders.*", "bills", "_rejected"], "read": ["*"], "admin": ["orders.eu.*"]`)), nil)
	g, err := f.Authorize(t.Context(), access.Credentials{Token: tokenA})
	if err != nil {
		t.Fatal(err)
	}
	for right, topics := range map[access.Right]struct{ yes, no string }{
		access.Send:  {"orders.eu orders.eu.7 orders.* orders.eu.* bills _rejected", "orders ordersx ordersx.y * bills.x bill _log _rejectedx"},
		access.Read:  {"orders orders.* * x", "_rejected _x.*"},
		access.Admin: {"orders.eu.x orders.eu.*", "orders.eu orders.* orders.us.x * _rejected"},
		"other":      {"", "orders.eu bills *"},
	} {
		for _, topic := range strings.Fields(topics.yes) {
			if !g.Allows(right, topic) {
				t.Errorf("no right to %s %s", right, topic)
			}
		}
		for _, topic := range strings.Fields(topics.no) {
			if g.Allows(right, topic) {
				t.Errorf("a right to %s %s", right, topic)
			}
		}
	}
}

// Everything that is wrong in a file is reported, with its place.
func TestParse(t *testing.T) {
	good := entry("a", tokenA, "")
	for text, want := range map[string]string{
		``:   "0 bytes that are no whole dictionary",
		`{`:  "1 bytes that are no whole dictionary",
		`[]`: "want a dictionary",
		`{"dictwire_tokens": 1, "entries": []} {}`:   "something follows the dictionary",
		`{"dictwire_tokens": 1, "entries": [` + good: "no whole dictionary",
		`{"entries": []}`:                                                      `want "dictwire_tokens": 1`,
		`{"dictwire_tokens": 1, "entries": {}}`:                                "want a list",
		`{"dictwire_tokens": 1, "entries": [], "entries": []}`:                 "twice",
		`{"dictwire_tokens": 1, "tokens": []}`:                                 `unknown key "tokens"`,
		`{"dictwire_tokens": 1, "entries": [7]}`:                               "want a dictionary",
		`{"dictwire_tokens": 1, "entries": [` + good + `,` + good + `]}`:       `the name "a" comes twice` + "\n" + `entries "a" and "a" have the same credential`,
		entries(`{"name": "a"}`):                                               "want one of sha256, certificate, unix and network, got 0",
		entries(entry("a", tokenA, `, "unix": "0"`)):                           "got 2",
		entries(entry("", tokenA, "")):                                         "want 1 to 128 bytes",
		entries(entry("a b", tokenA, "")):                                      "want letters and digits",
		entries(entry("-a", tokenA, "")):                                       "want letters and digits",
		entries(entry("a", tokenA, `, "principal": "_relay"`)):                 "don't begin with _",
		entries(entry("a", tokenA, `, "send": ["a..b"], "read": ["**"]`)):      "send: topic",
		entries(entry("a", tokenA, `, "read": "orders"`)):                      "read: want a list of topics",
		entries(entry("a", tokenA, `, "sends": []`)):                           "sends: want a string",
		entries(entry("a", tokenA, `, "rights": "all"`)):                       "rights: unknown key",
		entries(entry("a", tokenA, `, "expires": "soon"`)):                     "expires: want a time",
		entries(entry("a", tokenA, `, "old_expires": "2026-01-01T00:00:00Z"`)): "old_sha256 and old_expires stand together",
		entries(`{"name": "a", "sha256": "ab"}`):                               "sha256: want 64 hexadecimal digits",
		entries(`{"name": "a", "sha256": "` + strings.Repeat("x", 64) + `"}`):  "want 64 hexadecimal digits",
		entries(`{"name": "a", "network": "10.1.2.3/8"}`):                      "whose address ends in zeros",
		entries(`{"name": "a", "network": "lan"}`):                             "want a network",
		entries(`{"name": "a", "unix": "root"}`):                               "want a user's number",
	} {
		if _, err := auth.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func entries(all string) string { return `{"dictwire_tokens": 1, "entries": [` + all + `]}` }

// FuzzParse checks that a parsed file can be written and parsed again with the same result.
func FuzzParse(f *testing.F) {
	f.Add([]byte(entries(entry("a", tokenA, `, "principal": "p", "send": ["*"], "expires": "2027-01-01T00:00:00Z"`))))
	f.Add([]byte(entries(`{"name": "a", "network": "10.0.0.0/8"}, {"name": "b", "unix": "*", "admin": ["x.*"]}`)))
	f.Add([]byte(`{"dictwire_tokens": 1, "entries": [{"name": "a", "certificate": "\ud800"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := auth.Parse(b)
		if err != nil {
			return
		}
		text := list.Append(nil)
		again, err := auth.Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := again.Append(nil); string(got) != string(text) {
			t.Fatalf("%q, then %q", text, got)
		}
	})
}

// holds reports whether a token is valid.
func holds(t *testing.T, f *auth.File, token string) (context.Context, bool) {
	t.Helper()
	g, err := f.Authorize(t.Context(), access.Credentials{Token: token})
	return g.Context, err == nil
}

// A changed file is read again. An invalid one changes nothing, and is reported once.
// Unchanged grants stay active.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.json")
	put(t, path, entry("a", tokenA, ""))
	synctest.Test(t, func(t *testing.T) {
		var log testlog.Buffer
		f := open(t, path, &auth.Options{Logger: log.Logger()})
		wait := func() {
			time.Sleep(2500 * time.Millisecond)
			synctest.Wait()
		}
		a, ok := holds(t, f, tokenA)
		if _, other := holds(t, f, tokenB); !ok || other {
			t.Fatal("the first file is not in force")
		}
		put(t, path, entry("b", tokenB, "")+","+entry("a", tokenA, `, "created": "2026-01-01T00:00:00Z"`))
		wait()
		b, ok := holds(t, f, tokenB)
		if !ok || a.Err() != nil {
			t.Errorf("a new entry: %v; the old one has ended: %v", ok, a.Err())
		}
		for _, broken := range []string{"", "{", entries(`{"name": "a"}`)} {
			log.Take()
			write(t, path, broken)
			wait()
			wait()
			if n := strings.Count(log.Take(), "level=ERROR"); n != 1 || a.Err() != nil || b.Err() != nil {
				t.Errorf("%q: told %d times, %v, %v", broken, n, a.Err(), b.Err())
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		wait()
		if _, ok := holds(t, f, tokenA); !ok {
			t.Error("a file that is gone ends what was in force")
		}
		// By swapping a link, as orchestrators do.
		for i, rights := range []string{"", `, "send": ["*"]`} {
			link := fmt.Sprintf("%s/v%d", dir, i)
			if err := os.Mkdir(link, 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, link+"/tokens.json", entry("a", tokenA, rights)+","+entry("c", fmt.Sprint("dw_", i), ""))
			if err := errors.Join(os.Symlink(link, dir+"/new"), os.Rename(dir+"/new", dir+"/now")); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				if err := os.Symlink("now/tokens.json", path); err != nil {
					t.Fatal(err)
				}
			}
			wait()
			if _, ok := holds(t, f, fmt.Sprint("dw_", i)); !ok {
				t.Errorf("link %d is not followed", i)
			}
			if ended := a.Err() != nil; ended != (i == 1) || b.Err() == nil {
				t.Errorf("link %d: a has ended: %v, b: %v", i, a.Err(), b.Err())
			}
		}
	})
}

// A token ends when it expires, and when its successor says so.
func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble starts in the year 2000
		f := open(t, file(t, entry("a", tokenA, `, "expires": "2000-01-01T01:00:00Z"`)+","+
			entry("b", "dw_new", fmt.Sprintf(`, "old_sha256": %q, "old_expires": "2000-01-01T02:00:00Z"`, auth.HashOf(tokenB)))), nil)
		a, okA := holds(t, f, tokenA)
		b, okB := holds(t, f, tokenB)
		c, okC := holds(t, f, "dw_new")
		if !okA || !okB || !okC {
			t.Fatal(okA, okB, okC)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, ok := holds(t, f, tokenA); ok || a.Err() == nil || b.Err() != nil {
			t.Errorf("after an hour: %v, %v, %v", ok, a.Err(), b.Err())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, ok := holds(t, f, tokenB); ok || b.Err() == nil || c.Err() != nil {
			t.Errorf("after two: %v, %v, %v", ok, b.Err(), c.Err())
		}
	})
}

// Concurrent edits lose nothing, a link stays a link, and nobody else may read the file.
func TestEdit(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "real.json"), filepath.Join(dir, "tokens.json")
	if err := auth.Edit(target, false, func(*auth.List) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Edit of no file = %v", err)
	}
	if err := auth.Edit(target, true, func(*auth.List) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.json", path); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			err := auth.Edit(path, true, func(l *auth.List) error {
				l.Entries = append(l.Entries, auth.Entry{Name: fmt.Sprint(i), Token: auth.HashOf(auth.NewToken()), Send: []string{"*"}})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := auth.Read(path)
	if err != nil || len(list.Entries) != 20 {
		t.Errorf("%d entries, %v", len(list.Entries), err)
	}
	if err := auth.Edit(path, true, func(l *auth.List) error {
		l.Entries[0].Name = "bad name"
		return nil
	}); err == nil {
		t.Error("a list that can't be read was written")
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("%v, %v: files were left behind", names, err)
	}
	link, err := os.Lstat(path)
	if err != nil || link.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v, %v: no link any more", link, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Chmod(target, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.Open(path, nil); err == nil || !strings.Contains(err.Error(), "everybody may write to it (mode 0666)") {
		t.Errorf("Open = %v", err)
	}
}

// Tokens are 256 random bits.
func TestNewToken(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token := auth.NewToken()
		if seen[token] || len(token) != 46 || !strings.HasPrefix(token, "dw_") {
			t.Fatalf("%q", token)
		}
		seen[token] = true
	}
}
