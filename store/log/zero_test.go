package log_test

import (
	"path"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// Zeros are written to the next segment while the active one fills, and not earlier: a
// store with few appends writes none, nor does one whose file system never overwrites.
func TestZeros(t *testing.T) {
	for _, c := range []struct {
		what     string
		copies   bool // on write
		blocks   int
		min, max int // zeros in the next segment, which has room for 512 KiB
	}{
		{"little", false, 5, 0, 0},
		{"less than a quarter", false, 12, 0, 0},
		{"half", false, 35, 1, 320 << 10},
		{"almost full", false, 60, 1, 512 << 10},
		{"almost full, copies on write", true, 60, 0, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			fs := crashfs.New(1)
			if c.copies {
				fs.SetCopiesOnWrite()
			}
			s := open(t, log.Options{FS: fs, KeepEvery: -1, Reserve: -1})
			for n := range c.blocks {
				b := &store.Block{Topic: "a", Codec: "json"}
				b.Add(noise(n, 900))
				if r := s.Append(t.Context(), b)[0]; r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			if err := s.Close(); err != nil { // the goroutine that writes zeros has ended
				t.Fatal(err)
			}
			names, _ := segments(fs)
			if len(names) != 2 {
				t.Fatalf("%q: want two segments", names)
			}
			zeros := len(fs.Get(path.Join("store", names[1]))) - 4096
			if zeros < c.min || zeros > c.max {
				t.Errorf("%d zeros, want %d to %d", zeros, c.min, c.max)
			}
		})
	}
}
