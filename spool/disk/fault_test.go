package disk_test

import (
	"cmp"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/internal/storedir"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/spool/spooltest"
	"github.com/dictwire/dictwire/store"
)

// counting is a file system that counts syncs, and delays them or makes them fail.
type counting struct {
	vfs.FS
	slow    sync.RWMutex // held to block syncs
	syncs   atomic.Int64
	failing atomic.Bool
}

func (c *counting) Unwrap() vfs.FS { return c.FS }

func (c *counting) OpenReadWrite(name string, w vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.OpenReadWrite(name, w, o...)
	if err != nil {
		return nil, err
	}
	return &countingFile{f, c}, nil
}

func (c *counting) Create(name string, w vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, w)
	if err != nil {
		return nil, err
	}
	return &countingFile{f, c}, nil
}

type countingFile struct {
	vfs.File
	c *counting
}

var errDisk = errors.New("the disk fails")

func (f *countingFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *countingFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *countingFile) sync(do func() error) error {
	f.c.slow.RLock()
	defer f.c.slow.RUnlock()
	f.c.syncs.Add(1)
	if f.c.failing.Load() {
		return errDisk
	}
	return do()
}

// TestDiskFails makes a sync fail: the append returns an error, and nothing is considered
// stored that is not.
func TestDiskFails(t *testing.T) {
	fs := &counting{FS: vfs.NewMem()}
	s, err := disk.Open(t.Context(), "spool", &disk.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	spooltest.Add(t, s, "a", 1, 3)
	fs.failing.Store(true)
	for range 3 {
		if _, err := s.Append(t.Context(), "a", "json", spooltest.Record(4)); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
	}
	spooltest.Read(t, s, "a", 1, 3)
	fs.failing.Store(false)
	if err := s.Close(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("close: %v", err)
	}
	s = open(t, disk.Options{FS: fs})
	st := topicA(t, s)
	if st.Next < 4 || st.Next > 5 {
		t.Fatalf("%+v", st)
	}
	spooltest.Add(t, s, "a", st.Next, 2)
	spooltest.Read(t, s, "a", 1, st.Next+1)
}

// TestReserve appends to a disk with too little room. Settled records, and other programs,
// make room.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &smallDisk{FS: vfs.NewMem()}
		fs.free.Store(65 << 20)
		s := open(t, disk.Options{FS: fs, NoWait: true})
		spooltest.Add(t, s, "a", 1, 3)
		fs.free.Store(63 << 20)
		time.Sleep(2 * time.Second)
		if _, err := s.Append(t.Context(), "a", "json", spooltest.Record(4)); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("append: %v", err)
		}
		spooltest.Settle(t, s, "a", 3)
		time.Sleep(2 * time.Second)
		if st := s.Stats(); st.Bytes != 0 {
			t.Errorf("nothing is trimmed: %+v", st)
		}
		fs.free.Store(65 << 20)
		time.Sleep(time.Second)
		spooltest.Add(t, s, "a", 4, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		fs.free.Store(0)
		s = open(t, disk.Options{FS: fs})
		var wg sync.WaitGroup
		wg.Go(func() { spooltest.Add(t, s, "a", 5, 1) })
		time.Sleep(time.Minute)
		if s.Stats().Waiting != 1 {
			t.Error("nobody waits for room")
		}
		fs.free.Store(1 << 30)
		wg.Wait()
		spooltest.Read(t, s, "a", 1, 5)
	})
}

type smallDisk struct {
	vfs.FS
	free  atomic.Uint64
	total uint64 // zero means 1 TiB
}

func (d *smallDisk) Unwrap() vfs.FS { return d.FS }

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load(), TotalBytes: cmp.Or(d.total, 1<<40)}, nil
}

// The reserve of a spool on a small disk is a tenth of it. A reserve that the disk can
// never have is refused.
func TestReserveOfSmallDisk(t *testing.T) {
	fs := &smallDisk{FS: vfs.NewMem(), total: 64 << 20}
	fs.free.Store(8 << 20)
	s := open(t, disk.Options{FS: fs, NoWait: true})
	spooltest.Add(t, s, "a", 1, 10)
	_, err := disk.Open(t.Context(), "other", &disk.Options{FS: fs, Reserve: 64 << 20})
	if !errors.Is(err, storedir.ErrReserve) {
		t.Errorf("a reserve of all the disk: %v", err)
	}
}

// TestOldCopy opens an old copy of a spool: its attempts are lower than those that the
// server saw. If it was opened more often, its records are not those that were sent under
// their numbers, which their checksums show.
func TestOldCopy(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, disk.Options{FS: fs})
	spooltest.Add(t, s, "a", 1, 10)
	old := fs.Crash(false, nil)
	spooltest.Add(t, s, "a", 11, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, disk.Options{FS: fs})
	seen, err := s.Attempt(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	back := open(t, disk.Options{FS: old})
	attempt, err := back.Attempt(t.Context())
	if err != nil || attempt > seen {
		t.Errorf("the copy's attempt is %d, %v, and the server saw %d", attempt, err, seen)
	}
	if back.Producer() != s.Producer() {
		t.Error("the copy has another name")
	}
	want := spool.Topic{Topic: "a", First: 1, Next: 11}
	if got := topicA(t, back); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
