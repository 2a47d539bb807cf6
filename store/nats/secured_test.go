package nats_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/dictwire/dictwire/internal/brokertest"
	"github.com/dictwire/dictwire/internal/devca"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
)

// TestSecured connects to a broker with TLS and client certificates, as a user with exactly
// the permissions of docs/cluster.md: once with a password, once with a file of
// credentials.
func TestSecured(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca, _, err := devca.Open(file("ca.pem"), file("ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	for name, r := range map[string]devca.Request{
		"node":   {Names: []string{"127.0.0.1"}, Until: until},
		"client": {Names: []string{"dictwire"}, Client: true, Until: until},
	} {
		if err := ca.Issue(r, file(name+".pem"), file(name+".key")); err != nil {
			t.Fatal(err)
		}
	}
	tls := fmt.Sprintf("tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}\n", file("node.pem"), file("node.key"), file("ca.pem"))
	accounts, credentials := operator(t)
	if err := os.WriteFile(file("user.creds"), credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, config, user, credentials string }{
		{"password", `authorization {users: [{user: dw, password: secret, permissions: {publish: ["s.>", "$JS.API.>"], subscribe: ["_INBOX.>"]}}]}`, "dw:secret@", ""},
		{"credentials", accounts, "", file("user.creds")},
	} {
		t.Run(c.name, func(t *testing.T) {
			var logged bytes.Buffer
			o := &nats.Options{
				Prefix: "s", Replicas: 1, Credentials: c.credentials, CA: file("ca.pem"), Certificate: file("client.pem"), Key: file("client.key"),
				Logger: slog.New(slog.NewTextHandler(&logged, nil)),
			}
			url := brokertest.Cluster(t, 1, tls+c.config)[0].URL
			url = strings.Replace(url, "nats://", "tls://"+c.user, 1)
			strange := *o
			strange.CA = ""
			if _, err := nats.Open(t.Context(), url, &strange); err == nil || !strings.Contains(err.Error(), "Options.CA") {
				t.Errorf("with a node whose certificate nobody known has signed: %v", err)
			}
			s, err := nats.Open(t.Context(), url, o)
			if err != nil {
				t.Fatal(err)
			}
			everything(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if strings.Contains(logged.String(), "violation") { // the log is complete: the store is closed
				t.Errorf("the user may not do something:\n%s", &logged)
			}
		})
	}
}

// everything calls whatever sends different requests to the broker.
func everything(t *testing.T, s *nats.Store) {
	t.Helper()
	ctx := t.Context()
	p, cursor := store.Producer{Principal: "p", Topic: "a", Name: "x"}, store.CursorName{Principal: "p", Name: "c"}
	c, err := s.Claim(ctx, p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var last store.Position
	for n := range uint64(3) {
		b := &store.Block{Topic: "a", Codec: "json", Principal: "p", Producer: p, Epoch: c.Epoch, First: n + 1}
		b.Add([]byte("{}"))
		r := s.Append(ctx, b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		last = r.Position
	}
	read, err := s.ClaimCursor(ctx, cursor, store.CursorRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ctx, cursor, read.Epoch, last); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cursors(ctx); err != nil {
		t.Fatal(err)
	}
	if known, err := s.Known(ctx, store.Producer{Principal: "p"}, 10); err != nil || len(known) != 1 {
		t.Fatal(known, err)
	}
	if err := s.Trim(ctx, "a", last); err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for batch, err := range s.Read(ctx, last, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch.Block != nil {
			blocks++
		}
	}
	if blocks != 1 {
		t.Fatalf("%d blocks are left, want 1", blocks)
	}
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// operator returns the configuration of a broker whose accounts are tokens, as nsc makes
// them, and a user's credentials.
func operator(t *testing.T) (config string, credentials []byte) {
	t.Helper()
	pair := func(kp nkeys.KeyPair, err error) (nkeys.KeyPair, string) {
		if err != nil {
			t.Fatal(err)
		}
		public, err := kp.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return kp, public
	}
	token := func(issuer nkeys.KeyPair, subject string, is map[string]any) string {
		by, err := issuer.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		is["version"] = 2
		claims, err := json.Marshal(map[string]any{"iat": time.Now().Unix(), "iss": by, "sub": subject, "name": "test", "nats": is})
		if err != nil {
			t.Fatal(err)
		}
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
		signature, err := issuer.Sign([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	op, opID := pair(nkeys.CreateOperator())
	account, accountID := pair(nkeys.CreateAccount())
	_, systemID := pair(nkeys.CreateAccount())
	user, userID := pair(nkeys.CreateUser())
	limits := map[string]any{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
	config = fmt.Sprintf("operator: %s\nresolver: MEMORY\nsystem_account: %s\nresolver_preload: {%[2]s: %s, %s: %s}\n", token(op, opID, map[string]any{"type": "operator"}),
		systemID, token(op, systemID, map[string]any{"type": "account", "limits": map[string]any{"subs": -1, "data": -1, "payload": -1, "conn": -1, "imports": -1, "exports": -1, "wildcards": true}}),
		accountID, token(op, accountID, map[string]any{"type": "account", "limits": limits}))
	may := token(account, userID, map[string]any{
		"type": "user", "subs": -1, "data": -1, "payload": -1,
		"pub": map[string]any{"allow": []string{"s.>", "$JS.API.>"}}, "sub": map[string]any{"allow": []string{"_INBOX.>"}},
	})
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return config, fmt.Appendf(nil, "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", may, seed)
}

// TestAddress opens a malformed address. The error must not reveal the password.
func TestAddress(t *testing.T) {
	_, err := nats.Open(t.Context(), "nats://dw:secret@127.0.0.1:port", nil)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Open: %v", err)
	}
}
