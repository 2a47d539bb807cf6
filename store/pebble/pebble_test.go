package pebble_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/pebble"
	"github.com/dictwire/dictwire/store/storetest"
)

func TestMain(m *testing.M) {
	// What each check opens and closes adds up; the command line says more.
	_ = flag.Set("rapid.checks", "25")
	goleak.VerifyTestMain(m)
}

// opened remembers how the stores of a test were opened, so that they can be
// opened again.
var opened sync.Map

func open(t testing.TB, o pebble.Options) *pebble.Store {
	t.Helper()
	s, err := pebble.Open(t.Context(), "store", &o)
	if err != nil {
		t.Fatal(err)
	}
	opened.Store(s, o)
	t.Cleanup(func() {
		_ = s.Close() // where a fault was injected, it tells so again
		opened.Delete(s)
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Driver{
		Open: func(t testing.TB) store.Store {
			return open(t, pebble.Options{FS: vfs.NewMem(), KeepEvery: -1})
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			_ = s.(*pebble.Store).Close()
			o, _ := opened.Load(s)
			return open(t, o.(pebble.Options))
		},
		Bounded: func(t testing.TB, n int) store.Store {
			return open(t, pebble.Options{FS: vfs.NewMem(), KeepEvery: -1, MaxTopics: n, MaxProducers: n, MaxCursors: n})
		},
		Faulty: func(t testing.TB) (store.Store, storetest.Disk) {
			d := &disk{FS: vfs.NewMem()}
			return open(t, pebble.Options{FS: d, KeepEvery: -1}), d
		},
	})
}

func TestClose(t *testing.T) {
	storetest.Close(t, open(t, pebble.Options{FS: vfs.NewMem(), KeepEvery: -1}))
}

// A disk is a file system whose syncs of the log can be held up and made to
// fail, as can the writes of the log and of tables.
type disk struct {
	vfs.FS

	mu      sync.Mutex
	blocked chan struct{} // closed when a sync is held up
	release chan struct{} // nil, or closed when syncs go on
	failing string        // "sync" or "write" of the log, "table", or nothing
}

func (d *disk) Block() func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked, d.release = make(chan struct{}), make(chan struct{})
	return sync.OnceFunc(func() { close(d.release) })
}

func (d *disk) Blocked() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blocked
}

func (d *disk) Fail() func() {
	d.fails("sync")
	return func() { d.fails("") }
}

func (d *disk) fails(what string) { d.mu.Lock(); defer d.mu.Unlock(); d.failing = what }

// fault returns an error where that fails.
func (d *disk) fault(what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failing == what {
		return errInjected
	}
	return nil
}

var errInjected = errors.New("injected")

func (d *disk) sync() error {
	d.mu.Lock()
	release := d.release
	if release != nil {
		select {
		case <-d.blocked:
		default:
			close(d.blocked)
		}
	}
	d.mu.Unlock()
	if release != nil {
		<-release
	}
	return d.fault("sync")
}

func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrap(name)(d.FS.Create(name, c))
}

func (d *disk) ReuseForWrite(from, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrap(name)(d.FS.ReuseForWrite(from, name, c))
}

func (d *disk) Unwrap() vfs.FS { return d.FS }

func (d *disk) wrap(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err == nil && strings.HasSuffix(name, ".log") {
			return &diskFile{f, d}, nil
		}
		if err == nil && strings.HasSuffix(name, ".sst") {
			return &tableFile{f, d}, nil
		}
		return f, err
	}
}

type diskFile struct {
	vfs.File
	d *disk
}

func (f *diskFile) Sync() error {
	if err := f.d.sync(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *diskFile) SyncData() error {
	if err := f.d.sync(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *diskFile) Write(b []byte) (int, error) {
	if err := f.d.fault("write"); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

type tableFile struct {
	vfs.File
	d *disk
}

func (f *tableFile) Write(b []byte) (int, error) {
	if err := f.d.fault("table"); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

// A store that is a copy of one that went on refuses the positions of that one,
// and keeps its own cursors.
func TestRestored(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, pebble.Options{FS: fs, KeepEvery: -1})
	if r := s.Append(t.Context(), block("a", 1))[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	before, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := store.CursorName{Name: "c", Subscription: "a"}
	if err := s.Reset(t.Context(), c, before); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, pebble.Options{FS: fs, KeepEvery: -1, Restored: true})
	for _, err := range s.Read(t.Context(), before, store.ReadOptions{}) {
		if !errors.Is(err, store.ErrPosition) {
			t.Errorf("a position of the store before: %v", err)
		}
	}
	at, found, err := s.Cursor(t.Context(), c)
	if err != nil || !found || at.Compare(before) != 0 || at.Tag == before.Tag {
		t.Errorf("the cursor is at %v, %v, %v", at, found, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, pebble.Options{FS: fs, KeepEvery: -1})
	if head, err := s.Head(t.Context()); err != nil || head != at {
		t.Errorf("opened again, the head is %v, %v, want %v", head, err, at)
	}
}

// A backup of a store in use holds what was durable, and is another store.
func TestBackup(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.Default} {
		t.Run(name, func(t *testing.T) {
			dir := "in/store"
			if fs == vfs.Default {
				dir = fs.PathJoin(t.TempDir(), dir)
			}
			reopen := func(dir string) *pebble.Store {
				t.Helper()
				s, err := pebble.Open(t.Context(), dir, &pebble.Options{FS: fs, KeepEvery: -1, Reserve: -1})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = s.Close() })
				return s
			}
			s := reopen(dir)
			p := store.Producer{Principal: "p", Topic: "a", Name: "x"}
			claim, err := s.Claim(t.Context(), p, store.ClaimRequest{})
			if err != nil {
				t.Fatal(err)
			}
			add := func(n uint64) store.Position {
				t.Helper()
				b := block("a", 1)
				b.Principal, b.Producer, b.Epoch, b.First = "p", p, claim.Epoch, n
				r := s.Append(t.Context(), b)[0]
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				return r.Position
			}
			for n := range uint64(100) {
				add(n + 1)
			}
			to := dir + "-backups/1"
			if err := s.Backup(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			if err := s.Backup(t.Context(), to); !errors.Is(err, os.ErrExist) {
				t.Errorf("a second one in the same place: %v", err)
			}
			after := add(101)

			copied := reopen(to)
			if c, err := copied.Claim(t.Context(), p, store.ClaimRequest{}); err != nil || c.Next != 101 || c.Epoch == claim.Epoch {
				t.Errorf("the copy's claim: %+v, %v", c, err)
			}
			if err := copied.CheckPosition(t.Context(), after); !errors.Is(err, store.ErrPosition) {
				t.Errorf("a position from after the copy: %v", err)
			}
			head, err := copied.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := copied.Close(); err != nil {
				t.Fatal(err)
			}
			if again, err := reopen(to).Head(t.Context()); err != nil || again != head {
				t.Errorf("opened once more, the head is %v, %v, was %v", again, err, head)
			}
			if names, err := fs.List(fs.PathDir(to)); err != nil || len(names) != 1 {
				t.Errorf("beside the backup: %v, %v", names, err)
			}
		})
	}
}
