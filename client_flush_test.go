package dictwire_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/fault"
)

// Flushes that give up leave nothing behind.
func TestFlushGivesUp(t *testing.T) {
	for _, spool := range []*memorySpool{nil, newSpool()} {
		scriptedTest(t, func(t *testing.T, srv *scripted) {
			d := dictwire.Dialer{}
			if spool != nil {
				spool.delay = time.Second
				d.Spool = spool
			}
			c := srv.dial(d)
			sendAsync(t, c, 1)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			for range 20_000 {
				if err := c.Flush(ended); !errors.Is(err, context.Canceled) {
					t.Fatalf("Flush = %v", err)
				}
			}
			if after := heap(); after > before+1<<20 {
				t.Errorf("%d bytes are left", after-before)
			}
			done := flush(c)
			srv.takes()
			if err := <-done; err != nil {
				t.Error(err)
			}
			settled(t, c)
		})
	}
}

// Flush waits until the rejections that it returns have been reported.
func TestFlushWhileToldOf(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		hold := make(chan struct{})
		c := srv.dial(dictwire.Dialer{OnReply: func(string, uint64, *dict.Dict) { <-hold }})
		sendAsync(t, c, 2)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2))
		p.say(`{"reply":1,"length":7}`)
		p.raw(line(1))
		p.say(`{"rejected":2,"code":"handler","error":"no"}`, `{"ack":2}`)
		done := flush(c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush = %v", err)
		}
		close(hold)
		if rejected, err := (*dictwire.RejectedError)(nil), <-done; !errors.As(err, &rejected) {
			t.Errorf("Flush = %v", err)
		}
		settled(t, c)
	})
}

// AtSpool has no effect without a spool.
func TestAtNoSpool(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{AtSpool: true})
		sendAsync(t, c, 1)
		done := flush(c)
		select {
		case err := <-done:
			t.Fatalf("Flush = %v before anything was settled", err)
		default:
		}
		srv.takes()
		if err := <-done; err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}

// Close ends all waiting calls, and reports what is lost.
func TestClose(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{WindowRecords: 2})
		sendAsync(t, c, 1)
		sent, flushed := send(c, "t", n(2)), flush(c)
		full := send(c, "t", n(3))
		if err := c.Close(); err == nil || err.Error() != "dictwire: close: 2 records not settled" {
			t.Errorf("Close = %v", err)
		}
		for _, err := range []error{(<-sent).err, <-flushed, (<-full).err} {
			if !errors.Is(err, dictwire.ErrClientClosed) {
				t.Errorf("%v", err)
			}
		}
		if st := c.Stats(); st.Pending != 0 || st.PendingBytes != 0 || st.Lost != 2 {
			t.Errorf("%+v", st)
		}
		if err := c.Close(); err != nil {
			t.Errorf("the second Close = %v", err)
		}
	})
}

// One Flush reports a topic that can't go on, and no other topic fails.
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
		srv.takes()
		<-sent
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("the second Flush = %v", err)
		}
		_ = c.Close()
		if err := c.Flush(t.Context()); !errors.Is(err, dictwire.ErrClientClosed) {
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

// Shutdown waits until everything is settled, or its context ends.
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
