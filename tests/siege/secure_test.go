package siege_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dictwire/dictwire/tests/peer"
)

// guard makes a certificate, a token for the honest peers and an entry for the network of
// the hostile ones, and returns the flags for a server that requires them.
func guard(t *testing.T, bin string) []string {
	t.Helper()
	dir := t.TempDir()
	tokens, certs := filepath.Join(dir, "tokens.json"), filepath.Join(dir, "certs")
	run := func(args ...string) []byte {
		t.Helper()
		var stderr bytes.Buffer
		cmd := exec.Command(bin, args...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("dictwire %q: %v\n%s", args, err, &stderr)
		}
		return out
	}
	run("cert", "--dir", certs, "127.0.0.1")
	token := run("token", "create", "--tokens", tokens, "--name", "honest", "--send", "--read", "--topic", "honest.*", "--topic", "large", "--topic", "_rejected")
	run("token", "create", "--tokens", tokens, "--name", "hostile", "--send", "--read", "--network", "127.0.1.0/28")
	root, err := os.ReadFile(filepath.Join(certs, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	peer.Shown = peer.Pass{TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, Token: string(bytes.TrimSpace(token))}
	return []string{"--tokens", tokens, "--tls-cert", filepath.Join(certs, "server.pem"), "--tls-key", filepath.Join(certs, "server-key.pem")}
}
