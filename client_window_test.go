package dictwire_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/spool"
)

// SendAsync waits while the window is full, at most until its context ends.
func TestWindow(t *testing.T) {
	for name, d := range map[string]dictwire.Dialer{
		"records": {WindowRecords: 3},
		"bytes":   {WindowBytes: 3 * int64(len(line(1))+1)},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(d)
				sendAsync(t, c, 3)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := c.SendAsync(ctx, "other", n(4)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("SendAsync = %v", err)
				}
				p := srv.accept()
				p.welcome(1)
				p.want(line(1), line(2), line(3))
				waiting := make(chan error, 1)
				go func() { waiting <- c.SendAsync(context.Background(), "t", n(4)) }()
				synctest.Wait()
				if len(waiting) > 0 {
					t.Fatal("the window has no bound")
				}
				p.ack(1)
				if err := <-waiting; err != nil {
					t.Error(err)
				}
				p.want(line(4))
				p.ack(4)
				synctest.Wait()
				settled(t, c)
			})
		})
	}
}

// Negative limits mean no limit.
func TestNoBounds(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{WindowRecords: -1, WindowBytes: -1, IdleTimeout: -1, MinBackoff: -1, MaxBackoff: -1})
		sendAsync(t, c, 100_000)
		p := srv.accept()
		p.greeting()
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		if err := c.Close(); err == nil || !strings.Contains(err.Error(), "100000 records not settled") {
			t.Errorf("Close = %v", err)
		}
		p.ended()
	})
}

// No more is in flight than the server's window allows.
func TestServersWindow(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{})
		sendAsync(t, c, 7)
		p := srv.accept()
		p.greeting()
		p.say(`{"dictwire":1,"next":1,"window":3}`, `{"ack":0}`)
		p.want(line(1), line(2), line(3))
		synctest.Wait()
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
		if b, err := p.in.ReadByte(); err == nil {
			t.Fatalf("%q above the window", b)
		}
		p.ack(2)
		p.want(line(4), line(5))
		p.ack(5)
		p.want(line(6), line(7))
		p.ack(7)
		synctest.Wait()
		settled(t, c)
	})
}

// Whoever is told the outcome of a record finds that it is no longer pending.
func TestPendingWhenTold(t *testing.T) {
	for name, d := range map[string]dictwire.Dialer{
		"sent":        {},
		"spooled":     {Spool: newSpool(), AtSpool: true},
		"not spooled": {Spool: &memorySpool{full: spool.ErrFull}},
		"expired":     {MaxAge: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := dictwiretest.NewServer(t, nil)
				c := srv.NewClient(d)
				if d.MaxAge > 0 {
					srv.Refuse(true)
				}
				for i := range 10_000 { // the outcome depends on which side is faster
					_, err := c.Send(t.Context(), "t", n(i))
					if st := c.Stats(); st.Pending != 0 {
						t.Fatalf("after Send %d = %v %d are pending, %d lost", i, err, st.Pending, st.Lost)
					}
				}
				_ = c.Close()
			})
		})
	}
}
