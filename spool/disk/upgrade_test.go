package disk_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/spool/spooltest"
)

var update = flag.Bool("update", false, "write the spools of a new format, which all later versions must open")

// formats are the formats of the spools in testdata, each made by a version that wrote it:
// a spool that was closed, and the remains of one in use. They are never made again: a new
// format is added.
var formats = []string{"v2"}

// TestUpgrade opens the spools of every earlier format, and reads all of them.
func TestUpgrade(t *testing.T) {
	current := filepath.Join("testdata", formats[len(formats)-1])
	if _, err := os.Stat(current); *update && errors.Is(err, fs.ErrNotExist) {
		makeSpools(t, current)
	}
	for _, format := range formats {
		for _, how := range []string{"closed", "in-use"} {
			t.Run(format+" "+how, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "spool")
				if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", format, how))); err != nil {
					t.Fatal(err)
				}
				verifyUpgraded(t, dir)
			})
		}
	}
}

// upgraded are the options for the spools, which are read long after they were made.
func upgraded() *disk.Options { return &disk.Options{Name: "till-7", Reserve: -1, MaxAge: -1} }

// makeSpools makes the spools of the current format.
func makeSpools(t *testing.T, dir string) {
	t.Helper()
	work := filepath.Join(t.TempDir(), "spool")
	s, err := disk.Open(t.Context(), work, upgraded())
	if err != nil {
		t.Fatal(err)
	}
	spooltest.Add(t, s, "a", 1, 30)
	spooltest.Add(t, s, "b", 1, 3)
	for range 5 {
		if _, err := s.Attempt(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	spooltest.Settle(t, s, "a", 12)
	spooltest.Add(t, s, "a", 31, 10)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Settled numbers are saved in the background.
	eventually(t, "saved", func() bool {
		inUse := filepath.Join(t.TempDir(), "spool")
		if err := os.CopyFS(inUse, os.DirFS(work)); err != nil {
			t.Fatal(err)
		}
		copied, err := disk.Open(t.Context(), inUse, upgraded())
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close()
		return topicA(t, copied).Acked == 12
	})
	if err := os.CopyFS(filepath.Join(dir, "in-use"), os.DirFS(work)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "closed"), os.DirFS(work)); err != nil {
		t.Fatal(err)
	}
}

// verifyUpgraded opens a spool, compares its contents, continues with it, and opens it
// again.
func verifyUpgraded(t *testing.T, dir string) {
	t.Helper()
	producer := ""
	for again := range uint64(2) {
		s, err := disk.Open(t.Context(), dir, upgraded())
		if err != nil {
			t.Fatal(err)
		}
		next := 41 + again
		if a := topicA(t, s); a.Next != next || a.Acked != 12 || a.Sum != spooltest.Sum(spooltest.Record(12)) {
			t.Errorf("topic a: %+v", a)
		}
		if from := spooltest.Read(t, s, "a", 13, next-1); from != 13 {
			t.Errorf("topic a begins with record %d", from)
		}
		spooltest.Read(t, s, "b", 1, 3)
		if all := topics(t, s); len(all) != 2 || all[1] != (spool.Topic{Topic: "b", First: 1, Next: 4}) {
			t.Errorf("topics: %+v", all)
		}
		if n, err := s.Attempt(t.Context()); err != nil || n < 6+again {
			t.Errorf("attempt %d, %v", n, err)
		}
		if p := s.Producer(); p == "" || again > 0 && p != producer {
			t.Errorf("the producer %q was %q", p, producer)
		}
		producer = s.Producer()
		if oldest := s.Stats().Oldest; oldest.IsZero() || oldest.After(time.Now()) {
			t.Errorf("the oldest record is of %v", oldest)
		}
		spooltest.Add(t, s, "a", next, 1)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
