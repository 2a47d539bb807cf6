package pebble_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/storedir"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/pebble"
)

// makeStore makes a store whose records lie in a table and in the log.
func makeStore(t *testing.T, dir string) (records int) {
	t.Helper()
	for range 2 { // opening makes a table of the log
		s, err := pebble.Open(t.Context(), dir, &pebble.Options{KeepEvery: -1, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := s.Append(t.Context(), block("a", 1))[0].Err; err != nil {
				t.Fatal(err)
			}
			records++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

// count returns how many records a store has.
func count(t *testing.T, s *pebble.Store) (n int) {
	t.Helper()
	topics, err := s.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		n += int(topic.Records)
	}
	return n
}

// files returns what lies in a directory, but for the lock.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != "LOCK" {
			all[e.Name()] = string(b)
		}
	}
	return all
}

// TestPartsOfStore takes one file after the other away from a store, or cuts it:
// Open opens all of the store or none, and where it opens none, it leaves everything
// as it was.
func TestPartsOfStore(t *testing.T) {
	whole := t.TempDir()
	records := makeStore(t, whole)
	kept := files(t, whole)
	refused := 0
	for name, content := range kept {
		if filepath.Ext(name) == ".log" {
			continue // the end of a log is not known
		}
		for _, cut := range []int{-1, 0, len(content) / 2} { // -1: the file is gone
			dir := t.TempDir()
			for other, content := range kept {
				if other == name && cut >= 0 {
					content = content[:cut]
				} else if other == name {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, other), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := files(t, dir)
			for _, existing := range []bool{false, true} {
				s, err := pebble.Open(t.Context(), dir, &pebble.Options{KeepEvery: -1, Reserve: -1, Existing: existing})
				if err != nil {
					refused++
					if now := files(t, dir); !maps.Equal(now, before) {
						t.Errorf("%s cut to %d: Open refuses (%v), and changed %q to %q", name, cut, err, keys(before), keys(now))
					}
					if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, "marker.manifest") {
						t.Errorf("%s is gone: %v", name, err)
					}
					continue
				}
				if got := count(t, s); got != records {
					t.Errorf("%s cut to %d: Open opens a store of %d records, want %d", name, cut, got, records)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func TestManifestMarkerMissing(t *testing.T) {
	dir := t.TempDir()
	makeStore(t, dir)
	markers, err := filepath.Glob(filepath.Join(dir, "marker.manifest.*"))
	if err != nil || len(markers) != 1 {
		t.Fatal(markers, err)
	}
	if err := os.Remove(markers[0]); err != nil {
		t.Fatal(err)
	}
	for _, existing := range []bool{false, true} {
		_, err = pebble.Open(t.Context(), dir, &pebble.Options{Existing: existing})
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "the file marker.manifest.… is missing") ||
			!strings.Contains(err.Error(), ".sst") {
			t.Errorf("existing %v: %v", existing, err)
		}
	}
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"thesis.tex", "photos"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, err := pebble.Open(t.Context(), dir, nil)
	if !errors.Is(err, storedir.ErrForeign) || !strings.Contains(err.Error(), `"photos", "thesis.tex"`) {
		t.Errorf("%v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}

	// Beside a store that is there, they disturb nobody.
	dir = t.TempDir()
	records := makeStore(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := pebble.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, s); got != records {
		t.Errorf("%d records, want %d", got, records)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBegun opens a store where a crash ended its making.
func TestBegun(t *testing.T) {
	whole := t.TempDir()
	makeStore(t, whole)
	dir := t.TempDir()
	for name, content := range files(t, whole) {
		if strings.HasPrefix(name, "MANIFEST") || strings.HasPrefix(name, "OPTIONS") {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"lost+found", "LOCK", "marker.format-version.000001.013"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	makeStore(t, dir)
}

func TestPrivate(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "new")
	makeStore(t, dir)
	private := func() {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has the mode %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	private()
	// What others could read is closed to them.
	for name := range files(t, dir) {
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	makeStore(t, dir)
	private()
}

func TestReserveBeyondDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	_, err := pebble.Open(t.Context(), dir, &pebble.Options{Reserve: 1 << 62})
	if !errors.Is(err, storedir.ErrReserve) {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("made %v", entries)
	}
}

// A clock that jumped ahead ages nothing while the machine was off, as far as can be
// known, and no producer.
func TestClockAheadAtStart(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	o := &pebble.Options{
		KeepEvery: -1, Reserve: -1, Now: func() time.Time { return now },
		Keep: func(string) pebble.Keep { return pebble.Keep{Age: 24 * time.Hour} },
	}
	reopen := func(s *pebble.Store) *pebble.Store {
		t.Helper()
		if s != nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s, err := pebble.Open(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p := store.Producer{Topic: "b", Name: "p"}
	s := reopen(nil)
	claim, err := s.Claim(t.Context(), p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	b := block("b", 1)
	b.Producer, b.Epoch, b.First = p, claim.Epoch, 1
	for _, r := range s.Append(t.Context(), b, block("a", 1)) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}

	now = now.AddDate(10, 0, 0)
	s = reopen(s)
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s); got != 2 {
		t.Errorf("%d records, want 2", got)
	}
	if claim, err = s.Claim(t.Context(), p, store.ClaimRequest{Acked: 1}); err != nil || claim.Next != 2 || claim.New {
		t.Errorf("%+v, %v", claim, err)
	}

	now = now.Add(2 * time.Hour) // it goes on
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s); got != 0 {
		t.Errorf("%d records, want none", got)
	}
	if claim, err = s.Claim(t.Context(), p, store.ClaimRequest{Acked: 1}); err != nil || claim.Next != 2 {
		t.Errorf("a producer that was there an hour ago: %+v, %v", claim, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
