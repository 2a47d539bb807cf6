package dictwire_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/testlog"
)

// The possible answers of a server when a client reconnects after 5 records, 2 of which
// were acknowledged.
func TestResume(t *testing.T) {
	for name, test := range map[string]struct {
		next   int
		sum    string
		resent []string
		err    error
	}{
		"all is there":                 {6, sum(line(5)), nil, nil},
		"some are there":               {4, sum(line(3)), []string{line(4), line(5)}, nil},
		"none came":                    {3, sum(line(2)), []string{line(3), line(4), line(5)}, nil},
		"the sum is not known":         {4, "", []string{line(4), line(5)}, nil},
		"another record in flight":     {4, sum(line(4)), nil, dictwire.ErrConflict},
		"another record that is acked": {3, sum(line(1)), nil, dictwire.ErrConflict},
		"the beginning of a record":    {4, sum(line(3)[:4]) + `","of":4,"x":"`, []string{line(4), line(5)}, nil},
		"of more than was sent":        {4, sum(line(3)) + `","of":99,"x":"`, nil, dictwire.ErrConflict},
		"another beginning":            {4, sum(line(3)[1:4]) + `","of":4,"x":"`, nil, dictwire.ErrConflict},
		"a beginning that is acked":    {3, sum(line(1)[:4]) + `","of":4,"x":"`, []string{line(3), line(4), line(5)}, nil},
		"a sum that is none":           {3, "what", nil, dictwire.ErrConflict},
		"a record that was not sent":   {7, "", nil, dictwire.ErrConflict},
		"less than was acked":          {2, "", nil, dictwire.ErrLost},
		"no number":                    {0, "", nil, dictwire.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(dictwire.Dialer{})
				sendAsync(t, c, 5)
				done := flush(c)
				p := srv.accept()
				before := p.welcome(1)
				p.want(line(1), line(2), line(3), line(4), line(5))
				p.ack(2)
				_ = p.conn.Close()
				p = srv.accept()
				g := p.greeting()
				if g.Acked != 2 || g.First != 3 || g.Attempt <= before.Attempt || g.Producer != before.Producer {
					t.Errorf("greeting %+v", g)
				}
				m := `{"dictwire":1,"next":` + itoa(test.next)
				if test.sum != "" {
					m += `,"sum":"` + test.sum + `"`
				}
				p.say(m + "}")
				if test.err != nil {
					if err := <-done; !errors.Is(err, test.err) {
						t.Errorf("Flush = %v, want %v", err, test.err)
					}
					if _, err := c.Send(t.Context(), "t", n(6)); !errors.Is(err, test.err) {
						t.Errorf("Send = %v, want %v", err, test.err)
					}
					if err := c.Close(); err == nil || !strings.Contains(err.Error(), "3 records not settled") {
						t.Errorf("Close = %v", err)
					}
					p.ended()
					return
				}
				p.want(test.resent...)
				synctest.Wait()
				if len(done) > 0 {
					t.Error("next settled something")
				}
				p.ack(test.next - 1)
				p.ack(5)
				if err := <-done; err != nil {
					t.Error(err)
				}
				settled(t, c)
				p.ended()
			})
		})
	}
}

// The reasons for which a session ends, and what the client does about them.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name, line string
		greeted    bool // it comes after the answer to the greeting
		err        error
		code       fault.Code       // of an error that wraps no other one
		pause      [2]time.Duration // until the next connection, unless there is an error
	}{
		{"lost", `{"error":"less","code":"lost","next":1}`, false, dictwire.ErrLost, "", [2]time.Duration{}},
		{"conflict", `{"error":"other","code":"conflict"}`, false, dictwire.ErrConflict, "", [2]time.Duration{}},
		{"stale", `{"error":"late","code":"stale"}`, false, dictwire.ErrFenced, "", [2]time.Duration{}},
		{"fenced", `{"error":"newer","code":"fenced"}`, true, dictwire.ErrFenced, "", [2]time.Duration{}},
		{"forbidden", `{"error":"no","code":"forbidden"}`, false, nil, fault.Forbidden, [2]time.Duration{}},
		{"unauthenticated", `{"error":"who","code":"unauthenticated"}`, false, nil, fault.Unauthenticated, [2]time.Duration{}},
		{"greeting", `{"error":"/topic: want a string","code":"malformed"}`, false, nil, fault.Malformed, [2]time.Duration{}},
		{"unavailable", `{"error":"disk full","code":"unavailable","retry_ms":500}`, true, nil, "", [2]time.Duration{500 * time.Millisecond, 625 * time.Millisecond}},
		{"unavailable at once", `{"error":"disk full","code":"unavailable","retry_ms":700}`, false, nil, "", [2]time.Duration{700 * time.Millisecond, 875 * time.Millisecond}},
		{"shutdown", `{"error":"ends","code":"shutdown"}`, true, nil, "", [2]time.Duration{25 * time.Millisecond, 50 * time.Millisecond}},
		{"malformed", `{"error":"/a","code":"malformed","at":7}`, true, nil, "", [2]time.Duration{25 * time.Millisecond, 50 * time.Millisecond}},
		{"an ack above", `{"ack":2}`, true, dictwire.ErrProtocol, "", [2]time.Duration{}},
		{"a rejection above", `{"rejected":2,"code":"schema","error":""}`, true, dictwire.ErrProtocol, "", [2]time.Duration{}},
		{"a reply above", `{"reply":2,"length":0,"code":"loss","error":""}`, true, nil, "", [2]time.Duration{}},
		{"not a message", `{"hello":1}`, true, dictwire.ErrProtocol, "", [2]time.Duration{}},
		{"not JSON", `HTTP/1.1 400 Bad Request`, false, dictwire.ErrProtocol, "", [2]time.Duration{}},
		{"a reader's message", `{"next":"a.1.0"}`, true, dictwire.ErrProtocol, "", [2]time.Duration{}},
		{"an ack in place of the greeting", `{"ack":0}`, false, dictwire.ErrProtocol, "", [2]time.Duration{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				c := srv.dial(dictwire.Dialer{})
				done := send(c, "t", n(1))
				p := srv.accept()
				if test.greeted {
					p.welcome(1)
					p.want(line(1))
				} else {
					p.greeting()
				}
				p.say(test.line)
				synctest.Wait()
				at := time.Now()
				if test.err != nil || test.code != "" {
					r := <-done
					if test.err != nil && !errors.Is(r.err, test.err) || test.code != "" && errorCode(r.err) != test.code {
						t.Errorf("Send = %v, want %v%v", r.err, test.err, test.code)
					}
					srv.silent()
					_ = c.Close()
					return
				}
				if test.pause[1] > 0 {
					_ = p.conn.Close()
					p = srv.accept()
					if d := time.Since(at); d < test.pause[0] || d > test.pause[1] {
						t.Errorf("again after %v", d)
					}
					p.welcome(1)
					p.want(line(1))
				}
				p.ack(1)
				ok(t, done)
				settled(t, c)
			})
		})
	}
}

// If the loss is accepted, only the next greeting says so.
func TestAcceptLost(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		var log testlog.Buffer
		c := srv.dial(dictwire.Dialer{AcceptLost: true, Logger: log.Logger()})
		sendAsync(t, c, 3)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.ack(2)
		_ = p.conn.Close()
		p = srv.accept()
		if g := p.greeting(); g.AcceptLost {
			t.Error("the loss was accepted before there was one")
		}
		p.say(`{"error":"less","code":"lost","next":2}`)
		p.ended()
		p = srv.accept()
		if g := p.welcome(3); !g.AcceptLost || g.Acked != 2 || g.First != 3 {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(3))
		_ = p.conn.Close()
		p = srv.accept()
		if g := p.welcome(3); g.AcceptLost {
			t.Error("the loss was accepted twice")
		}
		p.want(line(3))
		p.ack(3)
		synctest.Wait()
		settled(t, c)
		if !strings.Contains(log.String(), "what is lost is accepted") {
			t.Errorf("logged %s", log.String())
		}
	})
}

// A rejection that arrives twice, because the ack after it was lost, is reported once.
func TestRejectedTwice(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		var got []string
		c := srv.dial(dictwire.Dialer{OnRejected: func(e *dictwire.RejectedError) {
			got = append(got, fmt.Sprintf("%d %s %s", e.Number, e.Code, e.Record))
		}})
		sendAsync(t, c, 3)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.say(`{"rejected":2,"code":"schema","error":"no"}`)
		_ = p.conn.Close()
		p = srv.accept()
		p.greeting()
		p.say(`{"dictwire":1,"next":4,"sum":"`+sum(line(3))+`"}`, `{"rejected":2,"code":"schema","error":"no"}`, `{"ack":3}`)
		p.say(`{"rejected":2,"code":"schema","error":"no"}`, `{"ack":3}`)
		done := send(c, "t", n(4))
		p.want(line(4))
		p.ack(4)
		ok(t, done)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if want := []string{"2 schema " + line(2)}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		settled(t, c)
	})
}
