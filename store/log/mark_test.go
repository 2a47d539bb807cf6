package log_test

import (
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// counting is a file system that counts the bytes read from segments.
type counting struct {
	vfs.FS

	bytes atomic.Int64
}

func (c *counting) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, o...)
	if err == nil && strings.HasSuffix(name, ".seg") {
		return countingFile{f, c}, nil
	}
	return f, err
}

type countingFile struct {
	vfs.File

	fs *counting
}

func (f countingFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.bytes.Add(int64(len(b)))
	return f.File.ReadAt(b, off)
}

// After a crash, the store reads the active segment from the last checkpoint on. It knows
// which segments were freed before, and reports earlier damage to readers.
func TestMark(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, Reserve: -1, MaxSegment: 2 << 20, Durability: store.OS}) // writes no zeros ahead
	block := func(topic string, n int) store.Position {
		b := &store.Block{Topic: topic, Codec: "json"}
		b.Add(noise(n, 9000))
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return r.Position
	}
	n := 0
	fill := func(topic string, bytes int) (last store.Position) {
		for end := n + bytes/9000; n < end; n++ {
			last = block(topic, n)
		}
		return last
	}
	first := fill("first", 300<<10) // the first segment, and more
	second := fill("second", 600<<10)
	kept := n
	fill("kept", 2<<20)
	for i, last := range []store.Position{first, second} {
		last.Block++
		if err := s.Trim(t.Context(), []string{"first", "second"}[i], last); err != nil {
			t.Fatal(err)
		}
		if err := s.Tidy(t.Context()); err != nil { // makes a checkpoint, and frees segments
			t.Fatal(err)
		}
	}
	fill("kept", 50<<10)
	fs = fs.Crash(false, nil)
	names, _ := segments(fs)
	if len(names) < 2 || names[0] != "log-0000000003.seg" {
		t.Fatalf("%q: want the first two to be freed", names)
	}
	active := path.Join("store", names[len(names)-2])

	reopen := func(fs *crashfs.FS) (read int64, records, damages int) {
		c := &counting{FS: fs}
		s, err := log.Open(t.Context(), "store", &log.Options{FS: c, KeepEvery: -1, Reserve: -1, Damaged: func(d log.Damage) { t.Error(d) }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		read = c.bytes.Load()
		for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"kept"}}) {
			switch {
			case err != nil:
				damages++
			case b.Block != nil:
				records++
			}
		}
		return read, records, damages
	}
	size := int64(len(fs.Get(active)))
	if read, records, damages := reopen(fs.Crash(false, nil)); read > 600<<10 || size < 1<<20 || records != n-kept || damages != 0 {
		t.Errorf("the opening has read %d bytes, and the segment has %d; %d records of %d, and %d damages", read, size, records, n-kept, damages)
	}
	fs.Damage(active, func(b []byte) []byte { b[40<<10] ^= 1; return b })
	if _, records, damages := reopen(fs); records != n-kept-1 || damages != 1 {
		t.Errorf("after a bit was flipped: %d records of %d, and %d damages", records, n-kept, damages)
	}
}
