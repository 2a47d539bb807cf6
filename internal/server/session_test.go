package server

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/lease"
	"github.com/dictwire/dictwire/store"
)

// A principal sees the topics that it may read, and its own cursors.
func TestInfo(t *testing.T) {
	s := &Server{Topic: "default", Authorize: func(_ context.Context, c access.Credentials) (access.Grant, error) {
		g := access.Grant{Principal: c.Token}
		if c.Token == "blue" {
			g.Allows = func(_ access.Right, topic string) bool { return topic == "prices" }
		}
		return g, nil
	}}
	in := openIntake(t, s)
	for _, name := range []string{"red", "blue"} {
		session, err := in.Open(t.Context(), dialect.Credentials{Token: name})
		if err != nil || session.Principal() != name {
			t.Fatalf("%v, %v", session, err)
		}
		r, err := session.Read(t.Context(), dialect.ReadRequest{Topics: []string{"prices"}, Subscription: "prices", Cursor: "of " + name})
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		for _, topic := range []string{"orders", "prices"} {
			w, err := session.Write(t.Context(), dialect.WriteRequest{Topic: topic})
			if (err != nil) != (name == "blue" && topic == "orders") {
				t.Fatal(err)
			}
			if err != nil {
				continue
			}
			if _, err := w.Take(t.Context(), &dialect.WriteBatch{Codec: json.Codec{}, Records: [][]byte{[]byte("{}")}}, nil); err != nil {
				t.Fatal(err)
			}
			w.Close()
		}
	}
	for name, want := range map[string][]string{"red": {"orders", "prices"}, "blue": {"prices"}, "": {"orders", "prices"}} {
		session, err := in.Open(t.Context(), dialect.Credentials{Token: name})
		if err != nil {
			t.Fatal(err)
		}
		topics, _, err := session.Topics(t.Context(), dialect.Page{Limit: 10})
		if err != nil || len(topics) != len(want) || topics[0].Name != want[0] {
			t.Errorf("%q sees the topics %v, %v", name, topics, err)
		}
		cursors, _, err := session.Cursors(t.Context(), dialect.Page{Limit: 10})
		switch {
		case err != nil:
			t.Error(err)
		case name == "" && (session.Principal() != store.Anonymous || len(cursors) != 0):
			t.Errorf("%s sees the cursors %v", session.Principal(), cursors)
		case name != "" && (len(cursors) != 1 || cursors[0].Name != "of "+name || cursors[0].Lag != 2):
			t.Errorf("%s sees the cursors %v", name, cursors)
		}
	}
}

// Who asks for lists waits for a turn, also if it is known: no record waits for a list.
func TestListsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Topic: "default"}
		in := openIntake(t, s)
		defer s.Close()
		session, err := in.Open(t.Context(), dialect.Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		in.vouch()
		s.rules.Turns.Host("of a producer").Turn().Known()
		var turns []*lease.Turn
		for range max(runtime.GOMAXPROCS(0)/4, 1) { // all that there are
			turns = append(turns, s.rules.Turns.Host("of others").Turn())
			if err := turns[len(turns)-1].BeginLong(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		for name, list := range map[string]func() error{
			"topics":    func() error { _, _, err := session.Topics(t.Context(), dialect.Page{Limit: 1}); return err },
			"cursors":   func() error { _, _, err := session.Cursors(t.Context(), dialect.Page{Limit: 1}); return err },
			"producers": func() error { _, _, err := session.Producers(t.Context(), dialect.Page{Limit: 1}); return err },
		} {
			listed := make(chan error, 1)
			go func() { listed <- list() }()
			synctest.Wait()
			if len(listed) > 0 {
				t.Errorf("a list of %s waits for nobody", name)
			}
			turns[0].End()
			if err := <-listed; err != nil {
				t.Errorf("%s: %v", name, err)
			}
			in.conn.Rest()
			if err := turns[0].BeginLong(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
