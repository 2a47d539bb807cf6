package dictwire_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/auth"
	"github.com/dictwire/dictwire/internal/devca"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/internal/testlog"
	"github.com/dictwire/dictwire/store/memory"
)

// A pki is a root and the certificates that it has signed, in files.
type pki struct {
	t   testing.TB
	dir string
	ca  *devca.Authority
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p := &pki{t: t, dir: t.TempDir()}
	var err error
	if p.ca, _, err = devca.Open(p.file("ca"), p.file("ca-key")); err != nil {
		t.Fatal(err)
	}
	p.issue("server", devca.Request{Names: []string{"localhost", "127.0.0.1", "server"}})
	p.issue("till", devca.Request{Names: []string{"till"}, Client: true})
	return p
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name+".pem") }

func (p *pki) issue(name string, r devca.Request) {
	p.t.Helper()
	if r.Until.IsZero() {
		r.Until = time.Now().Add(time.Hour)
	}
	if err := p.ca.Issue(r, p.file(name), p.file(name+"-key")); err != nil {
		p.t.Fatal(err)
	}
}

// server returns the server's TLS config, which requests client certificates.
func (p *pki) server() *tls.Config {
	p.t.Helper()
	s, err := auth.OpenTLS(auth.TLSFiles{Cert: p.file("server"), Key: p.file("server-key"), ClientCA: p.file("ca")}, &auth.Options{Every: -1})
	if err != nil {
		p.t.Fatal(err)
	}
	return s.Config()
}

// client returns the client's TLS config, with a certificate if it has a name.
func (p *pki) client(name string) *tls.Config {
	p.t.Helper()
	roots, err := auth.ReadRoots(p.file("ca"))
	if err != nil {
		p.t.Fatal(err)
	}
	c := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if name != "" {
		cert, err := tls.LoadX509KeyPair(p.file(name), p.file(name+"-key"))
		if err != nil {
			p.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c
}

// whoSpeaks gives principals to peers with and without certificates.
func whoSpeaks(_ context.Context, c access.Credentials) (access.Grant, error) {
	switch {
	case c.TLS == nil:
		return access.Grant{Principal: "plain"}, nil
	case len(c.TLS.VerifiedChains) > 0:
		return access.Grant{Principal: c.TLS.PeerCertificates[0].DNSNames[0]}, nil
	default:
		return access.Grant{Principal: "secure"}, nil
	}
}

// Over TLS, every dialect works as without, for stock programs as well, on the same port.
func TestTLS(t *testing.T) {
	p, st := newPKI(t), memory.New(nil)
	var log testlog.Buffer
	srv := &dictwire.Server{Store: st, Authorizer: whoSpeaks, Logger: log.Logger()}
	addr := servertest.StartAt(t, srv, dictwire.Endpoint{TLS: p.server(), PlaintextFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	ca := p.file("ca")

	c, err := dictwire.Dialer{TLS: p.client("till")}.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), "orders", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"orders"}}) {
		if err != nil || len(b.Records) > 0 && b.Principal != "till" {
			t.Errorf("read %v, %v", b, err)
		}
	}
	_ = c.Close()

	run := func(stdin string, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	// A bare sequence by openssl, in both versions of TLS.
	for i, version := range []string{"-tls1_2", "-tls1_3"} {
		out := run(fmt.Sprintf(`{"by":"openssl","n":%d}`+"\n", i), "openssl", "s_client", "-quiet", "-no_ign_eof", "-verify_return_error", version,
			"-CAfile", ca, "-connect", addr)
		if strings.Contains(out, "rror") {
			t.Errorf("openssl %s: %s", version, out)
		}
	}
	// From Python, which never sends close_notify: bare, and a native session.
	run("", "/usr/bin/python3", "-c", `
import json, pickle, socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
host, port = sys.argv[2].split(':')
def connect():
    return context.wrap_socket(socket.create_connection((host, int(port)), 20), server_hostname='localhost')
with connect() as s:
    s.sendall(json.dumps({'by': 'python'}).encode())
for i in range(20): # all that is sent before the end arrives, also where the end is at once
    with connect() as s:
        s.sendall(b'{"by":"many"}' * 1000)
with connect() as s:
    s.sendall(pickle.dumps({'by': 'pickle'}))
with connect() as s:
    f = s.makefile('rwb')
    f.write(b'{"dictwire":1,"topic":"native"}\n{"by":"session"}\n'); f.flush()
    lines = [json.loads(f.readline()) for _ in range(2)]
    while lines[-1] != {'ack': 1}:
        lines.append(json.loads(f.readline()))
`, ca, addr)
	if said := say(t, addr, `{"by":"plain"}`); said != "" {
		t.Errorf("in plain text: told %s", said)
	}
	for deadline := time.Now().Add(20 * time.Second); srv.Stats().Records < 20_007 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if n := len(stored(t, st, "default")); n != 20_005 {
		t.Errorf("%d records are stored, want %d", n, 20_005)
	}
	got := strings.Join(stored(t, st, "default"), "\n") + strings.Join(stored(t, st, "native"), "\n")
	for _, want := range []string{`"openssl","n":0`, `"openssl","n":1`, "python", "pickle", "plain", "session"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%s is not stored once:\n%s", want, got)
		}
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if text := log.String(); text != "" { // peers that end TLS without close_notify are treated like others
		t.Errorf("logged:\n%s", text)
	}
}

// A peer that an endpoint does not accept stores nothing. It gets an alert, or the code
// plaintext in plain text, and the server continues.
func TestTLSRefused(t *testing.T) {
	p, other, st := newPKI(t), newPKI(t), memory.New(nil)
	p.issue("old", devca.Request{Names: []string{"till"}, Client: true, Until: time.Now().Add(-time.Minute)})
	var log testlog.Buffer
	srv := &dictwire.Server{Store: st, Authorizer: whoSpeaks, Logger: log.Logger()}
	addr := servertest.StartAt(t, srv, dictwire.Endpoint{TLS: p.server(), PlaintextFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})

	with := func(who *tls.Config) func(*tls.Config) {
		return func(c *tls.Config) { c.Certificates = who.Certificates }
	}
	for name, test := range map[string]struct {
		change func(*tls.Config)
		want   string
	}{
		"another root":              {func(c *tls.Config) { c.RootCAs = other.client("").RootCAs }, "certificate"},
		"another name":              {func(c *tls.Config) { c.ServerName = "elsewhere" }, "certificate"},
		"a client of another root":  {with(other.client("till")), "remote error: tls: "},
		"a client that has expired": {with(p.client("old")), "remote error: tls: "},
		"a server's certificate":    {with(p.client("server")), "remote error: tls: "},
		"TLS 1.1":                   {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "protocol version"},
		"another protocol":          {func(c *tls.Config) { c.NextProtos = []string{"gopher"} }, "no application protocol"},
	} {
		config := p.client("")
		test.change(config)
		c, err := tls.Dial("tcp", addr, config)
		if err == nil { // in TLS 1.3, a client learns about its certificate only when it reads
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(c, `{"by":"`+name+`"}`)
			_ = c.CloseWrite()
			_, err = io.ReadAll(c)
			_ = c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	for text, want := range map[string]string{
		`{"a":1}`: `{"error":"this server wants TLS; nothing of this connection was taken; connect with TLS, as to tls://HOST:PORT","code":"plaintext"}` + "\n",
		`{"dictwire":1,"token":"a secret"}` + "\n": `"code":"plaintext"`,
		"\x80\x04}.":                `"code":"plaintext"`,
		"\x81\xa1a\x01":             `"code":"plaintext"`,
		"GET / HTTP/1.1\r\n\r\n":    `"code":"plaintext"`,
		"no protocol at all":        `"code":"plaintext"`,
		"":                          "",
		"\x16\x03":                  "",
		"\x16\x03\x01\x00\x05hello": "\x15\x03",
		"\x16\x03\x01\xff\xff" + strings.Repeat("x", 100): "\x15\x03",
	} {
		c := dial(t, addr)
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		if told, _ := io.ReadAll(c); !strings.Contains(string(told), want) || want == "" && len(told) > 0 {
			t.Errorf("%.20q: told %q, want %q", text, told, want)
		}
		_ = c.Close()
	}
	wantStored(t, st, "default")
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "unsupported application protocols"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) { // a client may see the alert before it is logged
			t.Fatalf("no word of handshakes that failed:\n%s", log.String())
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("a secret:\n%s", log.String())
	}
	c, err := dictwire.Dialer{TLS: p.client("")}.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	// Our client reports what is wrong.
	for addr, want := range map[string]string{addr: "wants TLS", "tls://" + addr: "TLS: tls: failed to verify certificate"} {
		if _, err := dictwire.Dial(t.Context(), addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial(%s) = %v, want %q", addr, err, want)
		}
	}
	plain := start(t, &dictwire.Server{})
	if _, err := dictwire.Dial(t.Context(), "tls://"+plain); err == nil || !strings.Contains(err.Error(), "TLS: ") {
		t.Errorf("Dial of a server without TLS = %v", err)
	}
}

// overMemory serves TLS on an in-memory network, for tests of what one host does there.
func overMemory(t *testing.T, srv *dictwire.Server, do func(t *testing.T, h *memnet.Host, p *pki)) {
	p := newPKI(t)
	synctest.Test(t, func(t *testing.T) {
		p := *p
		p.t = t
		network := memnet.New()
		servertest.StartAt(t, srv, dictwire.Endpoint{Listener: network.Host("server").Listen(), TLS: p.server()})
		do(t, network.Host("client"), &p)
	})
}

// A handshake that stops at any byte is ended, and so is one during a drain.
func TestSlowHandshake(t *testing.T) {
	overMemory(t, &dictwire.Server{}, func(t *testing.T, h *memnet.Host, _ *pki) {
		for _, sent := range []string{"\x16", "\x16\x03", "\x16\x03\x01\x02\x00", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
			c, err := h.Dial(t.Context(), "server")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, _ = io.WriteString(c, sent)
			_, _ = io.ReadAll(c)
			if took := time.Since(began); took < 5*time.Second || took > 21*time.Second {
				t.Errorf("%q: ended after %v", sent, took)
			}
			_ = c.Close()
		}
	})
	srv := new(dictwire.Server)
	overMemory(t, srv, func(t *testing.T, h *memnet.Host, _ *pki) {
		c, err := h.Dial(t.Context(), "server")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01")
		synctest.Wait()
		began := time.Now()
		if err := srv.Shutdown(t.Context()); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("Shutdown = %v after %v", err, time.Since(began))
		}
	})
}

// Handshakes use memory, and incomplete ones give it up when others wait.
func TestHandshakesPressed(t *testing.T) {
	overMemory(t, &dictwire.Server{MaxMemory: 2 << 20}, func(t *testing.T, h *memnet.Host, _ *pki) {
		var stuck sync.WaitGroup
		var hasty atomic.Int32
		for range 60 {
			stuck.Go(func() {
				c, err := h.Dial(t.Context(), "server")
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				began := time.Now()
				_, _ = io.WriteString(c, "\x16\x03\x01\x20\x00\x01\x00\x1f\xfc"+strings.Repeat("x", 8000))
				_, _ = io.ReadAll(c)
				if time.Since(began) < 3*time.Second {
					hasty.Add(1)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		below, err := h.Dial(t.Context(), "server")
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(below, &tls.Config{InsecureSkipVerify: true})
		_, _ = io.WriteString(c, `{"dictwire":1}`+"\n{}\n")
		_ = c.CloseWrite()
		if told, _ := io.ReadAll(c); !strings.Contains(string(told), `{"ack":1}`) || time.Since(began) > 5*time.Second {
			t.Errorf("told %s after %v", told, time.Since(began))
		}
		_ = c.Close()
		stuck.Wait()
		if n := hasty.Load(); n < 15 {
			t.Errorf("%d handshakes gave way", n)
		}
	})
}

// New connections see renewed certificates, and existing ones continue. Broken certificates
// change nothing.
func TestTLSReload(t *testing.T) {
	p := newPKI(t)
	var log bytes.Buffer
	files, err := auth.OpenTLS(auth.TLSFiles{Cert: p.file("server"), Key: p.file("server-key")}, &auth.Options{Every: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	addr := servertest.StartAt(t, new(dictwire.Server), dictwire.Endpoint{TLS: files.Config()})
	connect := func() (*tls.Conn, string) {
		c, err := tls.Dial("tcp", addr, p.client(""))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	c, first := connect()
	_, _ = io.WriteString(c, `{"dictwire":1}`+"\n")
	p.issue("server", devca.Request{Names: []string{"localhost"}})
	if _, same := connect(); same != first {
		t.Error("the files were read before they were asked to be")
	}
	if err := files.Reload(); err != nil {
		t.Fatal(err)
	}
	_, second := connect()
	if second == first {
		t.Error("the old certificate is shown")
	}
	p.issue("other", devca.Request{Names: []string{"localhost"}})
	good := files.Reload()
	if err := exec.Command("cp", p.file("other-key"), p.file("server-key")).Run(); err != nil {
		t.Fatal(err)
	}
	if err := files.Reload(); err == nil || good != nil {
		t.Errorf("a key that does not fit: %v, and %v", err, good)
	}
	if _, third := connect(); third != second {
		t.Error("what does not fit is shown")
	}
	_, _ = io.WriteString(c, "{}\n")
	_ = c.CloseWrite()
	if told, err := io.ReadAll(c); err != nil || !strings.Contains(string(told), `{"ack":1}`) {
		t.Errorf("the first connection: %s, %v", told, err)
	}
}

// A slow reader is not cut off earlier than without TLS.
func TestTLSSlowReader(t *testing.T) {
	const blocks, size = 4, 300_000
	overMemory(t, &dictwire.Server{Store: records(t, blocks, size)}, func(t *testing.T, h *memnet.Host, _ *pki) {
		below, err := h.Dial(t.Context(), "server")
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(below, &tls.Config{InsecureSkipVerify: true})
		defer c.Close()
		if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"t"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		all, buf := 0, make([]byte, size/3)
		for {
			time.Sleep(time.Minute) // six times as long as a reply may wait
			n, err := io.ReadFull(c, buf)
			if all += n; err != nil {
				break
			}
		}
		if all < blocks*size || !bytes.Contains(buf, []byte(`{"end":`)) {
			t.Errorf("the reader got %d bytes, of %d", all, blocks*size)
		}
	})
}

// A renegotiation within TLS is refused, and the server continues.
func TestTLSRenegotiation(t *testing.T) {
	p, st := newPKI(t), memory.New(nil)
	addr := servertest.StartAt(t, &dictwire.Server{Store: st}, dictwire.Endpoint{TLS: p.server()})
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-tls1_2", "-CAfile", p.file("ca"), "-connect", addr)
	cmd.Stdin = strings.NewReader("R\n")
	out, _ := cmd.CombinedOutput()
	if !bytes.Contains(out, []byte("RENEGOTIATING")) || !bytes.Contains(out, []byte("unexpected message")) {
		t.Errorf("openssl: %s", out)
	}
	c, err := dictwire.Dialer{TLS: p.client("")}.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Send(t.Context(), "", map[string]int{"a": 1}); err != nil {
		t.Error(err)
	}
}

// Thousands of TLS connections from one host get no more slots than one host may have,
// whether they send a greeting, stay silent or stop during the handshake. Handshakes and
// records of another host wait for none of them.
func TestTLSConnectionsOfOneHost(t *testing.T) {
	const places, crowd = 50, 5000
	const unavailable = "\x15\x03\x01\x00\x02\x02\x50" // an alert
	p := newPKI(t)
	synctest.Test(t, func(t *testing.T) {
		p := *p
		p.t = t
		network := memnet.New()
		servertest.StartAt(t, &dictwire.Server{MaxHostConns: places}, dictwire.Endpoint{Listener: network.Host("server").Listen(), TLS: p.server()})
		dial := func(host string) net.Conn {
			c, err := network.Host(host).Dial(t.Context(), "server")
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		within := func(c net.Conn) *tls.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) }
		honest := talkTo(t, within(dial("honest")), `{"dictwire":1,"topic":"orders","producer":"till"}`)
		held := honest.besideCrowd(crowd, 500, dial, func(i int, c net.Conn) {
			if i%500 == 0 {
				again := talkTo(t, within(dial("honest")), `{"dictwire":1}`)
				again.until(`"ack":0`)
				_ = again.c.Close()
			}
			switch {
			case i < places && i%3 == 0:
				_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01")
			case i < places && i%3 == 1:
				talkTo(t, within(c), `{"dictwire":1}`).until(`"ack":0`)
			case i < places: // silent
			default: // refused without a handshake
				if told, _ := io.ReadAll(c); string(told) != unavailable {
					t.Fatalf("connection %d is told %q", i+1, told)
				}
			}
		})
		for _, c := range append(held, honest.c) {
			_ = c.Close()
		}
		near, far := net.Pipe() // for the output of TLS
		go func() {
			_, _ = far.Read(make([]byte, 1<<14))
			_, _ = io.WriteString(far, unavailable)
			_ = far.Close()
		}()
		if err := within(near).HandshakeContext(t.Context()); err == nil || err.Error() != "remote error: tls: internal error" {
			t.Errorf("a handshake that is told of it ends with %v", err)
		}
	})
}
