package log

import (
	"strings"
	"syscall"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
)

// If there was no room for a segment, the keeper tries again until there is.
func TestShort(t *testing.T) {
	fs := crashfs.New(1)
	s, err := Open(t.Context(), "store", &Options{FS: fs, KeepEvery: -1, MaxSegment: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte(`"` + strings.Repeat("x", 1000) + `"`))
	fs.SetFault(func(op crashfs.Op, name string) error {
		if op == crashfs.Create && strings.HasSuffix(name, ".seg") {
			return syscall.ENOSPC
		}
		return nil
	})
	for n := 0; s.Append(t.Context(), b)[0].Err == nil; n++ {
		if n == 1000 {
			t.Fatal("there is always room")
		}
	}
	if !s.reserve.isShort() {
		t.Error("there was no room, and none is wanted")
	}
	fs.SetFault(nil)
	if err := s.Append(t.Context(), b)[0].Err; err != nil {
		t.Fatal(err)
	}
	if s.reserve.isShort() {
		t.Error("there was room, and more is wanted")
	}
}
