package pebble

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// A reader that looks for topics among many others says how far it is, and ends
// when nobody waits for it any more.
func TestScanSaysHowFar(t *testing.T) {
	s, err := Open(t.Context(), "store", &Options{FS: vfs.NewMem(), KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 10 * scanLook
	blocks := make([]*store.Block, n)
	for i := range blocks {
		blocks[i] = &store.Block{Topic: "other", Codec: "json"}
		blocks[i].Add([]byte("{}"))
	}
	for _, r := range s.Append(t.Context(), blocks...) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	o := store.ReadOptions{Topics: []string{"a", "b.*"}, Progress: time.Nanosecond}
	steps := 0
	for b, err := range s.Read(t.Context(), store.Position{}, o) {
		if err != nil || b.Block != nil {
			t.Fatalf("%+v, %v", b, err)
		}
		steps++
	}
	if steps < 5 {
		t.Errorf("%d steps over %d blocks", steps, n)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	steps = 0
	for _, err := range s.Read(ctx, store.Position{}, o) {
		if steps++; steps == 1 {
			cancel(enough)
		} else if !errors.Is(err, enough) {
			t.Errorf("step %d: %v", steps, err)
		}
	}
	if steps != 2 {
		t.Errorf("%d steps", steps)
	}
}
