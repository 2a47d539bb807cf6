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
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/fault"
)

// Who is no dictwire server is named at once.
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).ReadString('\n')
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// A peer that says nothing is given up, and a context ends the waiting.
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

// One topic that can't go on is told by one Flush, and fails no other topic.
func TestFlushBadTopic(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		sent := send(c, "bad", n(1))
		p := srv.accept()
		p.greeting()
		p.say(`{"error":"no","code":"forbidden"}`)
		if r := <-sent; errorCode(r.err) != fault.Forbidden {
			t.Errorf("Send = %v", r.err)
		}
		if err := c.Flush(t.Context(), "good"); err != nil {
			t.Errorf("Flush of another topic = %v", err)
		}
		if err := c.Flush(t.Context()); errorCode(err) != fault.Forbidden {
			t.Errorf("the first Flush = %v", err)
		}
		if err := c.SendAsync(t.Context(), "bad", n(2)); errorCode(err) != fault.Forbidden {
			t.Errorf("SendAsync = %v", err)
		}
		sent = send(c, "good", n(1))
		p = srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		<-sent
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("the second Flush = %v", err)
		}
		_ = c.Close()
		if err := c.Flush(t.Context()); !errors.Is(err, dictwire.ErrClientClosed) && err != nil {
			t.Errorf("Flush after Close = %v", err)
		}
	})
}

func errorCode(err error) fault.Code {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f.Code
	}
	return ""
}

// Names of the server's own topics are refused before they are sent.
func TestReservedTopics(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		for _, topic := range []string{"_", "_relay", "_audit.x"} {
			if _, err := c.Send(t.Context(), topic, n(1)); !errors.Is(err, dictwire.ErrNotSent) || !strings.Contains(err.Error(), "begin with _") {
				t.Errorf("Send to %s = %v", topic, err)
			}
		}
		srv.silent()
		_ = c.Close()
	})
}

// Shutdown waits until all is settled, or its context ends.
func TestClientShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, nil)
		sendAsync(t, srv.Client, 3)
		if err := srv.Client.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := srv.Records("t"); len(got) != 3 {
			t.Errorf("%d records are stored, want 3", len(got))
		}
		if err := srv.Client.SendAsync(t.Context(), "t", n(4)); !errors.Is(err, dictwire.ErrClientClosed) {
			t.Errorf("SendAsync = %v", err)
		}
		c := srv.NewClient(dictwire.Dialer{})
		srv.Refuse(true)
		sendAsync(t, c, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 record not settled") {
			t.Errorf("Shutdown = %v", err)
		}
	})
}

// Records that wait for longer than MaxAge are given up; what comes later is stored
// once.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, nil)
		c := srv.NewClient(dictwire.Dialer{MaxAge: time.Minute})
		sendAsync(t, c, 2)
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		srv.Refuse(true)
		srv.Cut()
		began := time.Now()
		if _, err := c.Send(t.Context(), "t", n(3)); !errors.Is(err, dictwire.ErrExpired) || time.Since(began) != time.Minute {
			t.Errorf("Send = %v after %v", err, time.Since(began))
		}
		sendAsync(t, c, 1)
		time.Sleep(50 * time.Second)
		sendAsync(t, c, 2)
		if err := c.Flush(t.Context(), "other"); err != nil {
			t.Errorf("Flush of another topic = %v", err)
		}
		time.AfterFunc(30*time.Second, func() { srv.Refuse(false) }) // the first has expired, the others not
		if err := c.Flush(t.Context()); !errors.Is(err, dictwire.ErrExpired) {
			t.Errorf("Flush = %v", err)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("the next Flush = %v", err)
		}
		if got := srv.Records("t"); len(got) != 4 {
			t.Errorf("stored %v, want 2 and 2", got)
		}
		if st := c.Stats(); st.Lost != 2 || st.Pending != 0 || st.PendingBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// What has expired while the server is slow is not sent again, and numbers stay
// right.
func TestMaxAgeSlowServer(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{MaxAge: 10 * time.Second})
		sent := send(c, "t", n(1))
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		time.Sleep(11 * time.Second)
		if r := <-sent; !errors.Is(r.err, dictwire.ErrExpired) {
			t.Errorf("Send = %v", r.err)
		}
		sent = send(c, "t", n(2))
		p.want(line(2))
		p.ack(1)
		p.ack(2)
		if r := <-sent; r.err != nil {
			t.Errorf("Send = %v", r.err)
		}
		// One that was never sent leaves a hole, which the next session accepts.
		_ = p.conn.Close()
		sent = send(c, "t", n(3))
		time.Sleep(time.Second)
		p = srv.accept()
		p.greeting()
		time.Sleep(10 * time.Second)
		if r := <-sent; !errors.Is(r.err, dictwire.ErrExpired) {
			t.Errorf("Send = %v", r.err)
		}
		sent = send(c, "t", n(4))
		p = srv.accept()
		if g := p.greeting(); g.First != 4 || !g.AcceptLost || g.Acked != 3 {
			t.Errorf("greeting %+v", g)
		}
		p.say(`{"dictwire":1,"next":4,"durability":"fsync","max_record":1048576,"window":8192,"features":[]}`, `{"ack":3}`)
		p.want(line(4))
		p.ack(4)
		if r := <-sent; r.err != nil {
			t.Errorf("Send = %v", r.err)
		}
		_ = c.Close()
	})
}

// Counters follow what is sent.
func TestClientStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, refuser())
		sendAsync(t, srv.Client, 3)
		if _, err := srv.Client.Send(t.Context(), "t", dict.Of("do", "reject")); err == nil {
			t.Error("it was not rejected")
		}
		if st := srv.Client.Stats(); st.Sessions != 1 || st.Pending != 0 || st.Topics["t"].Settled != 4 || st.Topics["t"].Rejected != 1 || st.Topics["t"].Bytes == 0 {
			t.Errorf("%+v", st)
		}
		srv.Refuse(true)
		srv.Cut()
		sendAsync(t, srv.Client, 1)
		time.Sleep(time.Minute)
		if st := srv.Client.Stats(); st.Sessions != 0 || st.Broken == 0 || st.Pending != 1 || st.Topics["t"].Pending != 1 {
			t.Errorf("%+v", st)
		}
	})
}
