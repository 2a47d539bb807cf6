package pebble_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/pebble"
)

// A replayed is a file system that creates no tables until it is let go, and
// counts what is read of the log.
type replayed struct {
	*vfs.MemFS
	tables chan struct{} // closed when tables are created
	read   atomic.Int64  // bytes
}

func (r *replayed) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		<-r.tables
	}
	return r.MemFS.Create(name, c)
}

func (r *replayed) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := r.MemFS.Open(name, o...)
	if err == nil && strings.HasSuffix(name, ".log") {
		return &replayedFile{f, r}, nil
	}
	return f, err
}

func (r *replayed) Unwrap() vfs.FS { return r.MemFS }

type replayedFile struct {
	vfs.File
	r *replayed
}

func (f *replayedFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.r.read.Add(int64(n))
	return n, err
}

// TestReplayIsBounded crashes when as much as ever is in the log alone: what
// the next open reads of it does not depend on how much was appended.
func TestReplayIsBounded(t *testing.T) {
	fs := &replayed{MemFS: vfs.NewCrashableMem(), tables: make(chan struct{})}
	s, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: fs, KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	var acked atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		noise := make([]byte, 256<<10)
		random := rand.NewChaCha8([32]byte{})
		for ctx.Err() == nil && acked.Load() < 100<<20 {
			_, _ = random.Read(noise) // never fails
			b := &store.Block{Topic: "a", Codec: "json"}
			b.Add(noise)
			if s.Append(ctx, b)[0].Err == nil {
				acked.Add(int64(len(noise)))
			}
		}
	}()
	// Appends go on until the engine waits for its tables.
	for before := int64(-1); before != acked.Load(); {
		before = acked.Load()
		select {
		case <-ended:
		case <-time.After(500 * time.Millisecond):
		}
	}
	crashed := &replayed{MemFS: fs.CrashClone(vfs.CrashCloneCfg{}), tables: make(chan struct{})}
	close(crashed.tables)
	want := acked.Load()
	cancel()
	close(fs.tables)
	<-ended
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s, err = pebble.Open(t.Context(), "store", &pebble.Options{FS: crashed, KeepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stats, err := s.Topics(t.Context())
	if err != nil || len(stats) != 1 || int64(stats[0].Bytes) < want {
		t.Fatalf("%d bytes were acknowledged, and there are %+v (%v)", want, stats, err)
	}
	if read := crashed.read.Load(); read > 16<<20 || read < want/2 {
		t.Fatalf("%d MiB of the log were read, and %d MiB were acknowledged", read>>20, want>>20)
	}
}
