package dictwire_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/cbor"
)

// A record is in the spool before its first byte is sent. Send returns when it is settled,
// and the spool is told.
func TestSpool(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.delay = time.Hour
		c := srv.dial(dictwire.Dialer{Spool: sp})
		done := send(c, "t", n(1))
		at := time.Now()
		p := srv.accept()
		if d := time.Since(at); d < time.Hour {
			t.Errorf("connected after %v", d)
		}
		g := p.welcome(1)
		if g.Producer != "spool" || g.Attempt != 1 || g.Acked != 0 || g.First != 1 {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(1))
		synctest.Wait()
		if len(done) > 0 {
			t.Error("Send did not wait")
		}
		p.say(`{"rejected":1,"code":"schema","error":"no"}`)
		p.ack(1)
		var rejected *dictwire.RejectedError
		if r := <-done; !errors.As(r.err, &rejected) || string(rejected.Record) != line(1) {
			t.Errorf("Send = %+v", r)
		}
		synctest.Wait()
		if want := []string{"t 1 " + sum(line(1))}; !slices.Equal(sp.settles, want) {
			t.Errorf("settled %q", sp.settles)
		}
		settled(t, c)
		p.ended()
	})
}

// A client starts sending the contents of the spool by itself, and resumes where the server
// says.
func TestSpoolResumes(t *testing.T) {
	for name, test := range map[string]struct {
		next   int
		sum    string
		resent []int
		err    error
	}{
		"all is there":            {6, sum(line(5)), nil, nil},
		"some are there":          {4, sum(line(3)), []int{4, 5}, nil},
		"none came":               {3, sum(line(2)), []int{3, 4, 5}, nil},
		"the sum is not known":    {4, "", []int{4, 5}, nil},
		"another in flight":       {4, sum(line(4)), nil, dictwire.ErrConflict},
		"another that is acked":   {3, sum(line(1)), nil, dictwire.ErrConflict},
		"an old copy came back":   {7, sum(line(6)), nil, dictwire.ErrConflict},
		"the server went back":    {2, "", nil, dictwire.ErrLost},
		"the newest is another's": {6, sum(line(4)), nil, dictwire.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				sp := newSpool()
				sp.fill(t, 5)
				sp.topics["t"].Acked, sp.topics["t"].Sum = 2, crc(line(2))
				sp.topics["t"].First = 3
				c := srv.dial(dictwire.Dialer{Spool: sp})
				p := srv.accept()
				if g := p.greeting(); g.Acked != 2 || g.First != 3 {
					t.Errorf("greeting %+v", g)
				}
				m := `{"dictwire":1,"next":` + itoa(test.next)
				if test.sum != "" {
					m += `,"sum":"` + test.sum + `"`
				}
				p.say(m + "}")
				done := flush(c)
				if test.err != nil {
					if err := <-done; !errors.Is(err, test.err) {
						t.Errorf("Flush = %v, want %v", err, test.err)
					}
					settled(t, c)
					p.ended()
					return
				}
				for _, i := range test.resent {
					p.want(line(i))
				}
				p.ack(test.next - 1)
				p.ack(5)
				if err := <-done; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if got := sp.topics["t"]; got.Acked != 5 || got.Sum != crc(line(5)) {
					t.Errorf("the spool stands at %+v", got.Topic)
				}
				settled(t, c)
			})
		})
	}
}

// A record may be settled before it is known to be in the spool.
func TestSpoolOvertaken(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		c := srv.dial(dictwire.Dialer{Spool: sp})
		done := send(c, "t", n(1))
		p := srv.takes()
		ok(t, done)
		sp.late = time.Second
		done = send(c, "t", n(2))
		p.want(line(2))
		p.say(`{"rejected":2,"code":"schema","error":"no"}`)
		p.ack(2)
		var rejected *dictwire.RejectedError
		if r := <-done; !errors.As(r.err, &rejected) {
			t.Errorf("Send = %v", r.err)
		}
		settled(t, c)
	})
}

// If a spool has records of several formats, each format gets a session of its own. No more
// is read from the spool than fits in the window.
func TestSpoolFormats(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.fill(t, 5)
		two, _ := cbor.Codec{}.Append(nil, n(6))
		if _, err := sp.Append(t.Context(), "t", "cbor", two); err != nil {
			t.Fatal(err)
		}
		c := srv.dial(dictwire.Dialer{Spool: sp, Codec: cbor.Codec{}, WindowRecords: 2})
		p := srv.accept()
		if g := p.greeting(); g.Format != "cbor" {
			t.Errorf("greeting %+v", g)
		}
		p.say(`{"dictwire":1,"next":1}`)
		p.ended()
		p = srv.accept()
		if g := p.welcome(1); g.Format != "json" {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(1), line(2))
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
		if b, err := p.in.ReadByte(); err == nil {
			t.Fatalf("%q above the window", b)
		}
		p.ack(2)
		p.want(line(3), line(4))
		p.ack(4)
		p.want(line(5))
		p.ack(5)
		p.ended()
		p = srv.accept()
		if g := p.welcome(6, sum(line(5))); g.Format != "cbor" {
			t.Errorf("greeting %+v", g)
		}
		got := make([]byte, len(two))
		if _, err := p.in.Read(got); err != nil || string(got) != string(two) {
			t.Fatalf("%x, %v", got, err)
		}
		p.ack(6)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}

// The sender of a settled, idle topic continues when the spool gets more records.
func TestSpoolIdle(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		c := srv.dial(dictwire.Dialer{Spool: sp, IdleTimeout: time.Second})
		for i := 1; i <= 2; i++ {
			done := send(c, "t", n(i))
			p := srv.accept()
			if g := p.welcome(i); g.Acked != uint64(i-1) || g.First != uint64(i) {
				t.Errorf("greeting %+v", g)
			}
			p.want(line(i))
			p.ack(i)
			ok(t, done)
			time.Sleep(5 * time.Second)
			p.ack(i)
			p.ended()
		}
		settled(t, c)
	})
}
