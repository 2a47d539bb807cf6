package dictwire_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/internal/servertest"
)

func TestDialErrors(t *testing.T) {
	broken := errors.New("no network")
	_, err := dictwire.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, broken
	}}.Dial(t.Context(), "")
	if !errors.Is(err, broken) {
		t.Errorf("Dial = %v", err)
	}
	if _, err := (dictwire.Dialer{Producer: "two words"}).Dial(t.Context(), ""); err == nil {
		t.Error("a producer that is none")
	}
}

// Peers that are not dictwire servers are identified at once.
func TestDialWrongPeer(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	defer secure.Close()
	for addr, want := range map[string]string{
		web.Listener.Addr().String():              "it is an HTTP server",
		banner(t, "SSH-2.0-OpenSSH_9.9\r\n"):      "it is an SSH server",
		banner(t, "\x15\x03\x03\x00\x02\x02\x0a"): "it is a server that wants TLS",
		banner(t, "220 mail ESMTP\r\n"):           "it is an SMTP or FTP server",
		banner(t, "J\x00\x00\x00\x0a8.4.0"):       `not with "J`,
		banner(t, `{"hello":"there"}`+"\n"):       "not the native session",
		banner(t, ""):                             "closed the connection",
	} {
		began := time.Now()
		c, err := dictwire.Dial(t.Context(), addr)
		if err == nil {
			_ = c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || time.Since(began) > 5*time.Second {
			t.Errorf("Dial = %v after %v, want %q", err, time.Since(began), want)
		}
		if strings.HasPrefix(want, "it is") && !errors.Is(err, dictwire.ErrProtocol) {
			t.Errorf("Dial = %v, want ErrProtocol", err)
		}
	}
}

// banner listens, reads a line, answers and closes. It returns its address.
func banner(t *testing.T, text string) string {
	t.Helper()
	return servertest.Answer(t, func(conn net.Conn) {
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, text)
	})
}

// The client gives up on a silent peer, and a context ends the wait.
func TestDialSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, server) }()
			return client, nil
		}
		began := time.Now()
		_, err := dictwire.Dialer{DialContext: dial}.Dial(t.Context(), "")
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "does not answer") || took != 10*time.Second {
			t.Errorf("Dial = %v after %v", err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		_, err = dictwire.Dialer{DialContext: dial}.Dial(ctx, "")
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("Dial = %v after %v", err, took)
		}
	})
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, nil)
		if err := srv.Client.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		srv.Refuse(true)
		if err := srv.Client.Ping(t.Context()); err == nil {
			t.Error("a server that can't be reached was pinged")
		}
	})
}

// A ping ends with the client.
func TestPingClosed(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		done := make(chan error, 1)
		go func() { done <- c.Ping(context.Background()) }()
		p := srv.accept()
		p.greeting()
		settled(t, c)
		if err := <-done; !errors.Is(err, dictwire.ErrClientClosed) {
			t.Errorf("Ping = %v", err)
		}
		if err := c.Ping(t.Context()); !errors.Is(err, dictwire.ErrClientClosed) {
			t.Errorf("Ping after Close = %v", err)
		}
	})
}
