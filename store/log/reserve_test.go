package log_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// roomy is a file system that records how much space is given to segments, and waits before
// other segments are rewritten.
type roomy struct {
	vfs.FS

	rewriting, goOn chan struct{}

	mu      sync.Mutex
	largest int64
}

func (f *roomy) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".seg.tmp") {
		select {
		case f.rewriting <- struct{}{}:
		case <-f.goOn:
		}
		<-f.goOn
	}
	return f.FS.Create(name, c)
}

func (f *roomy) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	if err == nil && filepath.Ext(name) == ".seg" {
		return &roomyFile{file, f}, nil
	}
	return file, err
}

func (f *roomy) size() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.largest
}

type roomyFile struct {
	vfs.File

	fs *roomy
}

func (f *roomyFile) Preallocate(off, n int64) error {
	f.fs.mu.Lock()
	f.fs.largest = max(f.fs.largest, off+n)
	f.fs.mu.Unlock()
	return f.File.Preallocate(off, n)
}

// New segments may still become larger while others are rewritten, if the disk has room.
func TestSegmentsGrowWhileRewriting(t *testing.T) {
	fs := &roomy{FS: crashfs.New(1), rewriting: make(chan struct{}), goOn: make(chan struct{})}
	m := &mix{t: t, record: 64 << 10, kept: map[store.Position][]byte{}}
	m.s = open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 16 << 20})
	defer close(fs.goOn)
	m.fill(64, 8)
	before := fs.size()
	m.trim()
	<-fs.rewriting
	m.fill(256, 8)
	if after := fs.size(); after <= before {
		t.Errorf("segments of %d bytes were made at most, and then of %d while others were rewritten", before, after)
	}
}

// sized is a file system on a disk of a fixed size that is always empty.
type sized struct {
	*crashfs.FS

	total uint64
}

func (f *sized) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.total, TotalBytes: f.total}, nil
}

// Without a limit, a principal may store half of the disk beside the reserve, and other
// principals can continue. The anonymous principal may use all of it.
func TestDefaultQuota(t *testing.T) {
	const total, reserve, half = 64 << 20, 8 << 20, (64 - 8) << 20 / 2
	s := open(t, log.Options{FS: &sized{crashfs.New(1), total}, KeepEvery: -1, Reserve: reserve})
	n := 0
	appendOf := func(principal string) error {
		n++
		b := &store.Block{Topic: "a", Codec: "json", Principal: principal}
		b.Add(noise(n, 1<<20))
		return s.Append(t.Context(), b)[0].Err
	}
	var err error
	for err == nil && n < total>>20 {
		err = appendOf("mallory")
	}
	if limit := (*store.LimitError)(nil); !errors.As(err, &limit) || limit.Max != half || n < half>>20 {
		t.Fatalf("append %d of 1 MiB: %v", n, err)
	}
	for _, principal := range []string{"alice", store.Anonymous, ""} {
		if err := appendOf(principal); err != nil {
			t.Errorf("%q: %v", principal, err)
		}
	}
	all, err := s.Stored(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	for i, want := range []uint64{0, half, 0, half} {
		if all[i].Max != want {
			t.Errorf("%+v, want at most %d", all[i], want)
		}
	}
}
