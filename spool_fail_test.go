package dictwire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/spool"
)

// A client with a damaged spool sends the records before the damage and stops, or continues
// after it if the loss is accepted. Records that the server has already are not missed.
func TestSpoolDamaged(t *testing.T) {
	for name, test := range map[string]struct {
		accepts bool
		next    int   // of the first session
		sent    []int // in the first session
		err     error // of Flush
		again   int   // the first record of the next session; 0: none
	}{
		"told":              {false, 1, []int{1, 2}, spool.ErrDamaged, 0},
		"accepted":          {true, 1, []int{1, 2}, spool.ErrDamaged, 5},
		"the server has it": {false, 5, nil, nil, 5},
		"it has the first":  {true, 4, nil, spool.ErrDamaged, 5},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				sp := newSpool()
				sp.fill(t, 6)
				sp.damaged = [2]uint64{3, 5}
				c := srv.dial(dictwire.Dialer{Spool: sp, AcceptLost: test.accepts})
				p := srv.accept()
				if g := p.greeting(); g.First != 1 || g.AcceptLost {
					t.Errorf("greeting %+v", g)
				}
				p.say(`{"dictwire":1,"next":` + itoa(test.next) + `}`)
				p.ack(test.next - 1)
				for _, i := range test.sent {
					p.want(line(i))
				}
				if n := len(test.sent); n > 0 {
					p.ack(test.sent[n-1])
				}
				p.ended()
				if test.again > 0 {
					p = srv.accept()
					g := p.greeting()
					if g.AcceptLost != test.accepts || g.First > uint64(test.again) {
						t.Errorf("the second greeting %+v", g)
					}
					p.say(`{"dictwire":1,"next":` + itoa(test.again) + `}`)
					p.ack(test.again - 1)
					p.want(line(5), line(6))
					p.ack(6)
				}
				if err := <-flush(c); !errors.Is(err, test.err) {
					t.Errorf("Flush = %v, want %v", err, test.err)
				}
				if !test.accepts {
					settled(t, c)
				} else if err := c.Close(); err == nil || !strings.HasSuffix(err.Error(), "not settled") {
					t.Errorf("Close = %v, want what is not settled", err)
				}
			})
		})
	}
}

// What does not get into the spool is not sent, and is reported.
func TestSpoolFails(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.full = fmt.Errorf("full: %w", spool.ErrFull)
		c := srv.dial(dictwire.Dialer{Spool: sp})
		if r := <-send(c, "t", n(1)); !errors.Is(r.err, spool.ErrFull) {
			t.Errorf("Send = %v", r.err)
		}
		sendAsync(t, c, 2)
		err := c.Flush(t.Context()) // whether they are tried together or not
		if text := fmt.Sprint(err); !errors.Is(err, spool.ErrFull) ||
			!strings.Contains(text, "2 records of topic t") && strings.Count(text, "1 record of topic t") != 2 {
			t.Errorf("Flush = %v", err)
		}
		srv.silent()
		sp.full = nil
		done := send(c, "t", n(3))
		p := srv.accept()
		p.welcome(1)
		p.want(line(3))
		p.ack(1)
		ok(t, done)
		if err := c.Close(); err == nil || !strings.Contains(err.Error(), "2 records") {
			t.Errorf("Close = %v", err)
		}
	})
}

// Flush waits for the records in the spool even if later ones do not get there.
func TestFlushBehindFailure(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		c := srv.dial(dictwire.Dialer{Spool: sp})
		sendAsync(t, c, 1)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		sp.full, sp.delay = spool.ErrFull, time.Second
		sent, flushed := send(c, "t", n(2)), flush(c)
		if r := <-sent; !errors.Is(r.err, spool.ErrFull) {
			t.Errorf("Send = %v", r.err)
		}
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Fatalf("Flush = %v before record 1 was settled", err)
		default:
		}
		p.ack(1)
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}
