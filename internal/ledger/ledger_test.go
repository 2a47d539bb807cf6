package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/ledger"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

func TestLedger(t *testing.T) {
	fs := vfs.NewMem()
	now := time.Now
	var name string
	attempt := uint64(0)
	for round := range 3 {
		s, err := log.Open(t.Context(), "store", &log.Options{FS: fs, Now: func() time.Time { return now() }})
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(t.Context(), s, "_own", fmt.Sprint("p", round), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if name == "" {
			name = l.Name()
		}
		if l.Name() != name || !strings.HasPrefix(name, "p0.") {
			t.Errorf("the name is %s, was %s", l.Name(), name)
		}
		for range 2 {
			n, err := l.Attempt(t.Context())
			if err != nil || n <= attempt {
				t.Errorf("attempt %d after %d: %v", n, attempt, err)
			}
			attempt = n
		}
		for _, topic := range []string{"a", "b"} {
			want := ""
			if round > 0 {
				want = fmt.Sprint(topic, "1999")
			}
			if got, err := l.Note(t.Context(), "k", topic); err != nil || string(got) != want {
				t.Errorf("the note is %q, %v, want %q", got, err, want)
			}
		}
		if got, err := l.Note(t.Context(), "other", "a"); err != nil || got != nil {
			t.Errorf("a note of another kind is %q, %v", got, err)
		}
		for i := range 2000 {
			err := l.Save(t.Context(),
				ledger.Note{Kind: "k", Topic: "a", Text: fmt.Append(nil, "a", i)},
				ledger.Note{Kind: "k", Topic: "b", Text: fmt.Append(nil, "b", i)})
			if err != nil {
				t.Fatal(err)
			}
		}
		stats, err := s.Topics(t.Context())
		if err != nil || len(stats) != 1 || stats[0].Blocks > 2000 {
			t.Errorf("topics %+v, %v", stats, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		now = func() time.Time { return time.Now().AddDate(50*(round+1), 0, 0) } // nothing is forgotten
	}
}

// TestBlockOfANote stores a record with a note, both or none.
func TestBlockOfANote(t *testing.T) {
	s, err := log.Open(t.Context(), "store", &log.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := ledger.Open(t.Context(), s, "_own", "", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	b := &store.Block{Topic: store.Rejected, Codec: "json"}
	b.Add([]byte(`{"n":1}`))
	b.Add([]byte(`{"n":2}`))
	for range 2 {
		if err := l.Save(t.Context(), ledger.Note{Kind: "k", Topic: "a", Text: []byte("x"), Block: b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Save(t.Context(), ledger.Note{Kind: "k", Topic: "a", Text: make([]byte, store.MaxNote+1)}); err == nil {
		t.Error("a note is longer than it may be")
	}
	if got, err := l.Note(t.Context(), "k", "a"); err != nil || string(got) != "x" {
		t.Errorf("the note is %q, %v", got, err)
	}
	n := 0
	for batch, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{store.Rejected}}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch.Block != nil {
			n += len(batch.Block.Lengths)
		}
	}
	if n != 4 {
		t.Errorf("%d records, want 4", n)
	}
}
