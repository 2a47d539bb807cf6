package dictwire_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// Replies go to waiting calls, or to OnReply.
func TestReplies(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		for _, listen := range []bool{false, true} {
			var got []string
			d := dictwire.Dialer{}
			if listen {
				d.OnReply = func(topic string, number uint64, reply *dict.Dict) {
					got = append(got, fmt.Sprint(topic, " ", number, " ", reply))
				}
			}
			c := srv.dial(d)
			sendAsync(t, c, 1)
			done := send(c, "t", n(2))
			p := srv.accept()
			p.welcome(1)
			p.want(line(1), line(2))
			p.say(`{"reply":1,"length":7}`)
			p.raw(line(1))
			p.say(`{"reply":2,"length":0,"code":"loss","error":"/a: no"}`, `{"ack":2}`)
			var remote *fault.Error
			if r := <-done; !errors.As(r.err, &remote) || remote.Code != "loss" {
				t.Errorf("Send = %+v", r)
			}
			settled(t, c)
			if want := []string{"t 1 {'n': 1}"}; listen && !slices.Equal(got, want) {
				t.Errorf("replies %q", got)
			}
		}
	})
}

// A reply beyond the client's limits affects only itself.
func TestReplyBeyondLimits(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		c := srv.dial(dictwire.Dialer{Limits: codec.Limits{Depth: 2, RecordBytes: 100}})
		var p *peer
		for i, reply := range []string{`{"a":[[1]]}`, `{"a":"` + strings.Repeat("x", 100) + `"}`, `{"n":3}`} {
			done := send(c, "t", n(i+1))
			if i == 0 {
				p = srv.accept()
				p.welcome(1)
			}
			p.want(line(i + 1))
			p.say(fmt.Sprintf(`{"reply":%d,"length":%d}`, i+1, len(reply)))
			_, _ = io.WriteString(p.conn, reply)
			_, _ = fmt.Fprintf(p.conn, `{"ack":%d}`+"\n", i+1)
			bad := (*codec.SyntaxError)(nil)
			if r := <-done; errors.As(r.err, &bad) != (i < 2) || errors.Is(r.err, dictwire.ErrProtocol) || i == 2 && r.reply != "{'n': 3}" {
				t.Fatalf("Send = %+v", r)
			}
		}
		settled(t, c)
	})
}

// If nobody wants a reply, a missing one does not matter to a Flush, whenever it was
// called.
func TestReplyNobodyWants(t *testing.T) {
	for name, test := range map[string]struct {
		spool bool
		late  time.Duration
	}{
		"no spool":                {false, 0},
		"a spool":                 {true, 0},
		"a spool that says later": {true, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				var d dictwire.Dialer
				sp := newSpool()
				if test.spool {
					d.Spool = sp
				}
				c := srv.dial(d)
				sendAsync(t, c, 1)
				p := srv.takes()
				sp.late = test.late
				if err := c.SendAsync(t.Context(), "t", n(2)); err != nil {
					t.Fatal(err)
				}
				flushed := flush(c)
				p.want(line(2))
				p.say(`{"reply":2,"length":0,"code":"loss","error":"/a: no"}`)
				p.ack(2)
				if err := <-flushed; err != nil {
					t.Errorf("Flush = %v", err)
				}
				if err := c.Flush(t.Context()); err != nil {
					t.Errorf("the second Flush = %v", err)
				}
				settled(t, c)
			})
		})
	}
}
