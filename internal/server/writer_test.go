package server

import (
	"context"
	"testing"

	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/store"
)

// openSession opens a session like a dialect.
func openSession(t *testing.T, s *Server) dialect.Session {
	t.Helper()
	session, err := openIntake(t, s).Open(t.Context(), dialect.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// Settled records are reported with their number and the position after them, whether they
// are in their topic or in _rejected. The next claim gets the writer's note.
func TestTake(t *testing.T) {
	s := &Server{Topic: "default", Handler: func(_ context.Context, r Request) (*dict.Dict, error) {
		switch string(r.Bytes) {
		case `{"no":1}`:
			return nil, &RejectError{Text: "no"}
		case `{"wait":1}`:
			return nil, fault.Unavailable
		}
		return nil, nil //nolint:nilnil // no reply
	}}
	session := openSession(t, s)
	open := func(note string) dialect.Writer {
		w, err := session.Write(t.Context(), dialect.WriteRequest{Topic: "t", Producer: "p", Note: []byte(note)})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := open("first note")
	for _, test := range []struct {
		records []string
		settled int
		fails   bool
	}{
		{[]string{`{"a":1}`, `{"a":2}`}, 2, false},
		{[]string{`{"no":1}`}, 1, false},
		{[]string{`{"a":3}`, `{"no":1}`}, 2, false},
		{[]string{`{"a":4}`, `{"wait":1}`, `{"a":5}`}, 1, true},
		{[]string{`{"wait":1}`}, 0, true},
	} {
		b := &dialect.WriteBatch{Codec: json.Codec{}}
		for _, r := range test.records {
			b.Records = append(b.Records, []byte(r))
		}
		got, err := w.Take(t.Context(), b, nil)
		if got.Records != test.settled || (err != nil) != test.fails {
			t.Errorf("%q: %+v, %v", test.records, got, err)
		}
		if test.settled == 0 {
			if !got.Next.IsZero() {
				t.Errorf("%q: nothing is settled up to %v", test.records, got.Next)
			}
			continue
		}
		if err := store.CheckIndex(t.Context(), s.store, got.Next); err != nil {
			t.Errorf("%q: %v", test.records, err)
		}
		for batch, err := range s.store.Read(t.Context(), got.Next, store.ReadOptions{}) {
			if err != nil || batch.Block != nil {
				t.Errorf("%q: %+v, %v is there after %v", test.records, batch.Block, err, got.Next)
			}
		}
	}
	w.Close()
	w = open("another")
	if c := w.Claim(); string(c.Note) != "first note" || c.Next != 7 {
		t.Errorf("the next claim is told %+v", c)
	}
	w.Close()
}
