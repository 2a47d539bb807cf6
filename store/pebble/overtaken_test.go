package pebble_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/pebble"
)

// A hooked file system calls a function once before it reads.
type hooked struct {
	vfs.FS
	hook atomic.Pointer[func()]
}

func (f *hooked) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, o...)
	return hookedFile{file, f}, err
}

func (f *hooked) Unwrap() vfs.FS { return f.FS }

type hookedFile struct {
	vfs.File
	f *hooked
}

func (f hookedFile) ReadAt(p []byte, off int64) (int, error) {
	if hook := f.f.hook.Swap(nil); hook != nil {
		(*hook)()
	}
	return f.File.ReadAt(p, off)
}

// TestTrimmedWhileRead trims, while a reader has begun to look at them, more blocks
// than it takes at once: it is told, and reads all that is left.
func TestTrimmedWhileRead(t *testing.T) {
	for _, topics := range [][]string{{"a"}, {"a", "b"}} {
		fs := &hooked{FS: vfs.NewMem()}
		s := open(t, pebble.Options{FS: fs, KeepEvery: -1})
		rng := rand.NewChaCha8([32]byte{})
		var at []store.Position
		for range 600 {
			b := &store.Block{Topic: "a", Codec: "json"}
			noise := make([]byte, 1<<10)
			_, _ = rng.Read(noise)
			b.Add(noise)
			r := s.Append(t.Context(), b)[0]
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			at = append(at, r.Position)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, pebble.Options{FS: fs, KeepEvery: -1}) // and nothing is in memory
		trim := func() {
			if err := s.Trim(t.Context(), "a", at[300]); err != nil {
				t.Error(err)
			}
		}
		fs.hook.Store(&trim)
		told, next := false, 300
		for b, err := range s.Read(t.Context(), at[10], store.ReadOptions{Topics: topics}) {
			trimmed := (*store.TrimmedError)(nil)
			switch {
			case errors.As(err, &trimmed):
				told = true
				if trimmed.From != at[10] || trimmed.To != at[300] {
					t.Errorf("%v: trimmed from %v to %v", topics, trimmed.From, trimmed.To)
				}
			case err != nil:
				t.Fatal(err)
			case b.Block != nil && told:
				if b.At != at[next] {
					t.Fatalf("%v: %v comes, want %v", topics, b.At, at[next])
				}
				next++
			}
		}
		if !told || next != len(at) {
			t.Errorf("%v: told %v; %d of %d blocks", topics, told, next, len(at))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
