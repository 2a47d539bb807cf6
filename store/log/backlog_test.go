package log_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// TestBacklog: the backlog is exact near the end, and an estimate many segments back.
func TestBacklog(t *testing.T) {
	s := open(t, log.Options{FS: crashfs.New(1), KeepEvery: -1, MaxSegment: 256 << 10})
	defer s.Close()
	var at []store.Position
	const blocks, each = 600, 10
	var filler [150]byte // does not compress
	random := rand.NewChaCha8([32]byte{})
	for i := range blocks {
		b := &store.Block{Topic: []string{"a", "b"}[i%2], Codec: "json"}
		for range each {
			_, _ = random.Read(filler[:])
			b.Add(fmt.Appendf(nil, `{"x":"%x"}`, filler))
		}
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		at = append(at, r.Position)
	}
	if i, err := s.Info(t.Context()); err != nil || i.Segments < 6 {
		t.Fatalf("%d segments: %v", i.Segments, err)
	}
	for i, p := range at {
		for topic, want := range map[string]int{"a": (blocks - i) / 2 * each, "b": (blocks - i + 1) / 2 * each} {
			got, err := s.Backlog(t.Context(), p, []string{topic})
			off := max(got, uint64(want)) - min(got, uint64(want))
			if err != nil || off > uint64(want)/20+each || got == 0 != (want == 0) {
				t.Fatalf("Backlog of %s from block %d: %d, %v, want %d, about", topic, i, got, err, want)
			}
			if i > blocks*9/10 && off > 0 {
				t.Fatalf("Backlog of %s from block %d: %d, want %d", topic, i, got, want)
			}
		}
	}
}
