package dictwire_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
)

// A whole session: the greeting, records, a reply, a rejection, an ack.
func TestSession(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Producer: "till-7", Token: "secret"})
		a := send(c, "orders", dict.Of("a", 1))
		p := srv.accept()
		g := p.welcome(1)
		if g.Topic != "orders" || g.Producer != c.Stats().Producer || !strings.HasPrefix(g.Producer, "till-7.") ||
			g.Format != "json" || g.Token != "secret" || g.Attempt == 0 || g.Acked != 0 || g.First != 1 || g.AcceptLost {
			t.Errorf("greeting %+v", g)
		}
		p.want(`{"a":1}`)
		b := send(c, "orders", map[string]any{"b": 2})
		p.want(`{"b":2}`)
		p.say(`{"reply":1,"length":11}`)
		p.raw(`{"ok":true}`)
		p.say(`{"rejected":2,"code":"schema","error":"/b: want a string"}`)
		synctest.Wait()
		if len(a) > 0 || len(b) > 0 {
			t.Error("Send returned before the ack")
		}
		p.ack(2)
		if r := <-a; r.err != nil || r.reply != "{'ok': True}" {
			t.Errorf("Send = %+v", r)
		}
		var rejected *dictwire.RejectedError
		if r := <-b; !errors.As(r.err, &rejected) || rejected.Topic != "orders" || rejected.Number != 2 || rejected.Code != "schema" ||
			rejected.Text != "/b: want a string" || string(rejected.Record) != `{"b":2}` {
			t.Errorf("Send = %+v", r)
		}
		settled(t, c)
		p.ended()
		if _, err := c.Send(t.Context(), "orders", n(1)); !errors.Is(err, dictwire.ErrClientClosed) {
			t.Errorf("Send after Close = %v", err)
		}
		if err := c.Flush(t.Context()); !errors.Is(err, dictwire.ErrClientClosed) {
			t.Errorf("Flush after Close = %v", err)
		}
	})
}

// A record that was cut off is sent again.
func TestCutRecord(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		done := send(c, "t", n(1))
		p := srv.accept()
		p.welcome(1)
		if _, err := p.in.ReadByte(); err != nil {
			t.Fatal(err)
		}
		_ = p.conn.Close()
		srv.takes()
		ok(t, done)
		settled(t, c)
	})
}

// A bad record ends the session, and the client continues after it at once.
func TestPoison(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		sendAsync(t, c, 3)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.say(`{"rejected":2,"code":"too_deep","error":"deep"}`, `{"ack":2}`, `{"error":"deep","code":"too_deep"}`)
		at := time.Now()
		_ = p.conn.Close()
		p = srv.accept()
		p.welcome(3)
		if d := time.Since(at); d > 0 {
			t.Errorf("again after %v", d)
		}
		p.want(line(3))
		p.ack(3)
		var rejected *dictwire.RejectedError
		if err := c.Flush(t.Context()); !errors.As(err, &rejected) || rejected.Number != 2 {
			t.Errorf("Flush = %v", err)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("the second Flush = %v", err)
		}
		settled(t, c)
	})
}

// If nothing arrives from the server for 15 seconds, the client reconnects.
func TestHeartbeat(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		done := send(c, "t", n(1))
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		for range 10 {
			time.Sleep(5 * time.Second)
			p.ack(0)
		}
		at := time.Now()
		p.ended()
		if d := time.Since(at); d != 15*time.Second {
			t.Errorf("ended after %v", d)
		}
		p = srv.accept()
		p.welcome(2)
		ok(t, done)
		settled(t, c)
	})
}

// A connection is closed when everything has been settled for a while, and the next record
// opens another one.
func TestIdle(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{IdleTimeout: time.Minute})
		done := send(c, "t", n(1))
		p := srv.takes()
		ok(t, done)
		for range 12 {
			time.Sleep(5 * time.Second)
			p.ack(1)
		}
		at := time.Now()
		if p.ended(); time.Since(at) > 0 {
			t.Errorf("ended %v after the time", time.Since(at))
		}
		done = send(c, "t", n(2))
		p = srv.accept()
		if g := p.welcome(2, sum(line(1))); g.Acked != 1 || g.First != 2 {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(2))
		p.ack(2)
		ok(t, done)
		settled(t, c)
	})
}

// Pauses between connections grow up to a limit, and start again from the beginning after a
// session that settled something.
func TestBackoff(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second})
		sendAsync(t, c, 2)
		pause := 100 * time.Millisecond
		for range 8 {
			p := srv.accept()
			p.greeting()
			at := time.Now()
			_ = p.conn.Close()
			synctest.Wait()
			next := srv.accept()
			if d := time.Since(at); d < pause/2 || d > pause {
				t.Errorf("a pause of %v, want %v to %v", d, pause/2, pause)
			}
			pause = min(2*pause, time.Second)
			next.greeting()
			at = time.Now()
			_ = next.conn.Close()
			srv.conns <- (<-srv.conns)
			if d := time.Since(at); d < pause/2 || d > pause {
				t.Errorf("a pause of %v, want %v to %v", d, pause/2, pause)
			}
			pause = min(2*pause, time.Second)
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2))
		p.ack(1)
		at := time.Now()
		_ = p.conn.Close()
		p = srv.accept()
		if d := time.Since(at); d > 100*time.Millisecond {
			t.Errorf("a pause of %v after a session", d)
		}
		p.welcome(3)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}
