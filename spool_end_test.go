package dictwire_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
)

// Send and Flush return once records are in the spool if asked to, whatever the server
// does.
func TestAtSpool(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		rejected := make(chan uint64, 1)
		c := srv.dial(dictwire.Dialer{Spool: sp, AtSpool: true, OnRejected: func(e *dictwire.RejectedError) { rejected <- e.Number }})
		sendAsync(t, c, 2)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if r := <-send(c, "t", n(3)); r.err != nil {
			t.Error(r.err)
		}
		if got := sp.topics["t"].records; !slices.Equal(got, []string{line(1), line(2), line(3)}) {
			t.Errorf("%q", got)
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.say(`{"rejected":3,"code":"schema","error":"no"}`)
		p.ack(3)
		if number := <-rejected; number != 3 {
			t.Errorf("%d is rejected", number)
		}
		settled(t, c)
	})
}

// Close stores what was sent in the spool.
func TestSpoolClose(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.delay = time.Second
		c := srv.dial(dictwire.Dialer{Spool: sp})
		sendAsync(t, c, 1)
		done := send(c, "t", n(2))
		settled(t, c)
		if r := <-done; !errors.Is(r.err, dictwire.ErrClientClosed) {
			t.Errorf("Send = %v", r.err)
		}
		if got := sp.topics["t"].records; !slices.Equal(got, []string{line(1), line(2)}) {
			t.Errorf("%q", got)
		}

		sp.delay = time.Minute // longer than Close waits
		c = srv.dial(dictwire.Dialer{Spool: sp})
		p := srv.accept()
		p.welcome(3, sum(line(2)))
		sendAsync(t, c, 1)
		if err := c.Close(); err == nil || err.Error() != "dictwire: close: 1 record not settled" {
			t.Errorf("Close = %v", err)
		}
	})
}

// Records pass through a spool while connections break and the client is restarted.
func TestSpoolExactlyOnce(t *testing.T) {
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(judge)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sp := newSpool()
	const count, lives = 400, 5
	for life := range lives {
		cut := &cutter{seed: uint64(life), up: 2000, down: 6000}
		c, err := dictwire.Dialer{
			Spool: sp, DialContext: cut.dial, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, WindowRecords: 100,
		}.Dial(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= count; i++ {
			if err := c.SendAsync(ctx, "t", n(life*count+i)); err != nil {
				t.Fatal(err)
			}
		}
		if life == lives-1 {
			var rejected *dictwire.RejectedError
			if err := c.Flush(ctx); err != nil && !errors.As(err, &rejected) {
				t.Error(err)
			}
		}
		settled(t, c)
	}
	c, err := dictwire.Dialer{Codec: json.Codec{}}.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := 1
	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		for d := range b.All() {
			if want%7 == 0 {
				want++
			}
			if !d.Equal(n(want)) {
				t.Fatalf("%v, want %d", d, want)
			}
			want++
		}
	}
	if want != lives*count+1 {
		t.Errorf("%d records", want-1)
	}
}
