package web_test

import (
	"crypto/tls"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/devca"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// certified returns the config of a server with a certificate for this machine, and the
// file of the authority that signed it.
func certified(t *testing.T) (config *tls.Config, ca string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	authority, _, err := devca.Open(file("ca.pem"), file("ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue(devca.Request{Names: []string{"localhost", "127.0.0.1"}, Until: time.Now().Add(time.Hour)}, file("cert.pem"), file("key.pem")); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(file("cert.pem"), file("key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, file("ca.pem")
}

// Over TLS, everything works as without, on the same port; curl negotiates HTTP.
func TestTLS(t *testing.T) {
	config, ca := certified(t)
	s := memory.New(nil)
	srv := &dictwire.Server{Store: s, Dialects: []dictwire.Dialect{web.Dialect}}
	addr := servertest.StartAt(t, srv, dictwire.Endpoint{TLS: config})
	url := "https://" + addr + "/v1/topics/t"
	for args, version := range map[string]string{"--http1.1": "1.1", "--http2": "2"} {
		out, err := exec.CommandContext(t.Context(), "curl", args, "-sSf", "--cacert", ca, "-o", "/dev/null", "-w", "%{http_version}", url).Output()
		if err != nil || string(out) != version {
			t.Errorf("%s: %v %s", args, err, out)
		}
	}
	for _, args := range [][]string{
		{"-d", `{"n":1}`}, {"-d", `{"n":2}`, "--http1.1"}, {"-d", `{"n":3}`, "-H", "Host: localhost"},
	} {
		out, err := exec.CommandContext(t.Context(), "curl", append(args, "-sSf", "--cacert", ca, url)...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	login := exec.CommandContext(t.Context(), "curl", "-sSf", "--cacert", ca, "-D", "-", "-X", "POST", "-H", "Authorization: Bearer x", "https://"+addr+"/v1/login")
	if out, err := login.Output(); err != nil || !regexp.MustCompile(`(?i)set-cookie: __Host-dictwire_\d+=\w+; Path=/; HttpOnly; Secure; SameSite=Strict\r`).Match(out) {
		t.Errorf("login: %v %s", err, out)
	}
	if got := stored(t, s, "t"); got != `{"n":1} {"n":2} {"n":3}` {
		t.Errorf("stored %s", got)
	}
	out, err := exec.CommandContext(t.Context(), "curl", "-sSf", "--cacert", ca, url).CombinedOutput()
	if err != nil || string(out) != "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n" {
		t.Errorf("%v %s", err, out)
	}
}
