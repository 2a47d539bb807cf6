package log_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// A roomy is a file system that notes how much room segments are given, and waits where
// others begin to be rewritten.
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

// Segments grow while others are rewritten, if the disk has room.
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
