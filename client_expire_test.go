package dictwire_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dictwiretest"
)

// Records that wait for longer than MaxAge are given up, and later ones are stored once.
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
		time.AfterFunc(30*time.Second, func() { srv.Refuse(false) }) // the first record has expired, the others not
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

// Records that expire while the server is slow are not sent again, and numbers stay right.
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
		// A record that was never sent leaves a gap, which the next session accepts.
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
