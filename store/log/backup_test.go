package log_test

import (
	"errors"
	iofs "io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A copy of a running store holds what was durable, gets a tag of its own, and keeps the
// cursors. The running store continues.
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

// An existing file at the target of a copy is removed only if it is an unfinished copy.
func TestBackupPart(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	if err := fs.MkdirAll("copy.part", 0o700); err != nil {
		t.Fatal(err)
	}
	fs.Put("copy.part/mine", []byte("mine"))
	if err := s.Backup(t.Context(), "copy"); !errors.Is(err, iofs.ErrExist) || !strings.Contains(err.Error(), "copy.part is there") {
		t.Errorf("beside a directory of others: %v", err)
	}
	if got := string(fs.Get("copy.part/mine")); got != "mine" {
		t.Fatalf("the file of others is %q", got)
	}
	fs.Put("copy.part/incomplete", nil)
	if err := s.Backup(t.Context(), "copy"); err != nil {
		t.Fatalf("where a copy was not finished: %v", err)
	}
	c, err := log.Open(t.Context(), "copy", &log.Options{FS: fs, KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// A store that was restored from a copy refuses the positions of the original, which went
// on, and keeps its own cursors.
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

// moving is a file system that calls a function at its nth operation.
type moving struct {
	vfs.FS

	left  int
	move  func()
	links int
}

func (f *moving) count() {
	if f.left--; f.left == 0 {
		f.move()
	}
}

func (f *moving) List(dir string) ([]string, error) {
	f.count()
	return f.FS.List(dir)
}

func (f *moving) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f.count()
	file, err := f.FS.Open(name, o...)
	f.count()
	return file, err
}

func (f *moving) Link(old, name string) error {
	f.count()
	err := f.FS.Link(old, name)
	if err == nil {
		f.links++
	}
	return err
}

func (f *moving) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f.count()
	return f.FS.OpenReadWrite(name, c, o...)
}

// Segments are made, trimmed and freed at any moment of a copy. It has everything that was
// durable when it began, except for what was trimmed, and no damage is reported.
func TestBackupMoves(t *testing.T) {
	linked := false
	for n := 1; ; n++ {
		fs := crashfs.New(1)
		o := log.Options{FS: fs, KeepEvery: -1, MaxSegment: 32 << 10, Damaged: func(d log.Damage) { t.Errorf("move %d: damaged: %+v", n, d) }}
		s, err := log.Open(t.Context(), "store", &o)
		if err != nil {
			t.Fatal(err)
		}
		last := store.Position{}
		fill := func(topic string, blocks int) {
			for n := range blocks {
				b := &store.Block{Topic: topic, Codec: "json"}
				b.Add(noise(n, 9000))
				r := s.Append(t.Context(), b)[0]
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				last = r.Position
			}
		}
		fill("trimmed", 5)
		fill("kept", 10)
		if err := s.Close(); err != nil { // saves the states
			t.Fatal(err)
		}
		if s, err = log.Open(t.Context(), "store", &o); err != nil {
			t.Fatal(err)
		}
		fill("later", 2)
		for began := time.Now(); ; time.Sleep(time.Millisecond) { // until the next segment has zeros
			names, _ := segments(fs)
			if len(fs.Get(path.Join("store", names[len(names)-1]))) > 4096 {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatal("no zeros go ahead")
			}
		}
		moves := &moving{FS: fs, left: n, move: func() {
			fill("later", 10)
			if err := errors.Join(s.Trim(t.Context(), "trimmed", last), s.Tidy(t.Context())); err != nil {
				t.Fatal(err)
			}
		}}
		o.FS, o.ReadOnly = moves, true
		r, err := log.Open(t.Context(), "store", &o)
		if err != nil {
			t.Fatalf("move %d: %v", n, err)
		}
		held := map[string]uint64{}
		for b, err := range r.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
			if err != nil {
				t.Errorf("move %d: %v", n, err)
			}
			if b.Block != nil {
				held[b.Block.Topic]++
			}
		}
		topics, err := r.Topics(t.Context())
		for _, topic := range topics {
			if topic.Blocks != held[topic.Name] {
				t.Errorf("move %d: %s is said to have %d blocks, and has %d", n, topic.Name, topic.Blocks, held[topic.Name])
			}
		}
		if err != nil || held["kept"] != 10 {
			t.Errorf("move %d: %v, %v", n, held, err)
		}
		if err := errors.Join(r.Backup(t.Context(), "copy"), r.Close(), s.Close()); err != nil {
			t.Fatalf("move %d: %v", n, err)
		}
		c, err := log.Open(t.Context(), "copy", &log.Options{FS: fs, KeepEvery: -1, Damaged: o.Damaged})
		if err != nil {
			t.Fatalf("move %d: %v", n, err)
		}
		kept := uint64(0)
		for b, err := range c.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"kept"}}) {
			if err != nil {
				t.Errorf("move %d: %v", n, err)
			}
			if b.Block != nil {
				kept++
			}
		}
		stats, err := c.Topics(t.Context())
		if err != nil || kept != 10 || stats[0].Name != "kept" || stats[0].Blocks != kept {
			t.Errorf("move %d: %d blocks were read of %+v, %v", n, kept, stats, err)
		}
		if _, err := c.Check(t.Context(), func(d *store.DamageError) { t.Errorf("move %d: %v", n, d) }); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		linked = linked || moves.links > 0
		if moves.left > 0 {
			t.Logf("%d moves", n-1)
			break
		}
	}
	if !linked {
		t.Error("nothing was linked")
	}
}
