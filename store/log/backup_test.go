package log_test

import (
	"errors"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A copy of a running store holds what was durable, takes another tag, and keeps
// cursors. The store goes on.
func TestBackup(t *testing.T) {
	w := newWorld(1)
	s, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	w.fs.CrashAfter(400, false, nil)
	if err := w.work(s); err != nil {
		t.Fatal(err)
	}
	before, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), "copy"); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), "copy"); err == nil {
		t.Error("a directory that exists is taken")
	}
	after := w.acks.clone()
	w.fs.CrashAfter(200, false, nil)
	if err := errors.Join(w.work(s), s.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := log.Open(t.Context(), "copy", &log.Options{FS: w.fs, KeepEvery: -1, Damaged: func(d log.Damage) { t.Errorf("damaged: %+v", d) }})
	if err != nil {
		t.Fatal(err)
	}
	head, err := c.Head(t.Context())
	if err != nil || head.Tag == before.Tag || head.Block < before.Block {
		t.Fatalf("the copy's head is %v (%v), the store's was %v", head, err, before)
	}
	w.acks = after
	w.acks.records = map[store.Position]string{}
	for at, r := range after.records {
		at.Tag = head.Tag
		w.acks.records[at] = r
	}
	w.acks.cursor.Tag = head.Tag
	if err := errors.Join(w.verify(c), c.Close()); err != nil {
		t.Fatal(err)
	}
	c, err = log.Open(t.Context(), "copy", &log.Options{FS: w.fs, KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Head(t.Context()); err != nil || again.Tag != head.Tag {
		t.Errorf("opened again, the head is %v (%v), want the tag %s", again, err, head.Tag)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// A store that is a copy of one that went on refuses the positions of that one,
// and keeps its own cursors.
func TestRestored(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte(`{}`))
	if r := s.Append(t.Context(), b)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	before, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reset(t.Context(), cursor, before); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, log.Options{FS: fs, KeepEvery: -1, Restored: true})
	if err := s.CheckPosition(t.Context(), before); !errors.Is(err, store.ErrPosition) {
		t.Errorf("a position of the store before: %v", err)
	}
	at, found, err := s.Cursor(t.Context(), cursor)
	if err != nil || !found || at.Compare(before) != 0 || at.Tag == before.Tag {
		t.Errorf("the cursor is at %v, %v, %v", at, found, err)
	}
}
