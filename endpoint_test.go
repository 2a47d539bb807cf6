package dictwire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/store/memory"
)

// One server listens on several addresses, each with its own rules.
func TestEndpoints(t *testing.T) {
	st := memory.New(nil)
	srv := &dictwire.Server{Store: st}
	strict := func(_ context.Context, c access.Credentials) (access.Grant, error) {
		if c.Token != "till's secret" {
			return access.Grant{}, dictwire.ErrUnauthenticated
		}
		return access.Grant{Principal: "till"}, nil
	}
	open := start(t, srv)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(dictwire.Endpoint{Listener: closed, Dialects: []string{"native"}, Authorizer: strict})
	}()
	say := func(addr, text string) string {
		c := dial(t, addr)
		defer c.Close()
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		told, _ := io.ReadAll(c)
		return string(told)
	}
	for text, want := range map[string]string{
		`{"a":1}`:                 "this is JSON, which is not served at this address; nothing of this connection was taken",
		"\x16\x03\x01":            "\x15\x03\x01", // an alert, as in general
		`{"dictwire":1}` + "\n{}": `"code":"unauthenticated"`,
		`{"dictwire":1,"token":"till's secret"}` + "\n{}": `{"ack":1}`,
	} {
		if told := say(closed.Addr().String(), text); !strings.Contains(told, want) {
			t.Errorf("%q: told %q, want %q", text, told, want)
		}
	}
	for text, want := range map[string]string{`{"a":1}`: "", `{"dictwire":1}` + "\n{}": `{"ack":1}`} {
		if told := say(open, text); !strings.Contains(told, want) || strings.Contains(told, "error") {
			t.Errorf("%q: told %q, want %q", text, told, want)
		}
	}
	if got := stored(t, st, "default"); len(got) != 3 {
		t.Errorf("stored %q, want one of the closed endpoint and two of the open one", got)
	}

	// An unknown dialect is an error at once.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	err = srv.Serve(dictwire.Endpoint{Listener: l, Dialects: []string{"native", "gopher"}})
	if err == nil || err.Error() != `dictwire: no dialect "gopher"; there are ["native" "stream" "framed"]` {
		t.Errorf("Serve = %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}

	// Ending the server ends all its endpoints.
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, dictwire.ErrServerClosed) {
		t.Errorf("Serve = %v", err)
	}
}
