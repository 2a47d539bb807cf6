package log_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
	"github.com/dictwire/dictwire/store/storetest"
)

func TestMain(m *testing.M) {
	// Every check opens and closes stores, which takes long; -rapid.checks overrides this.
	_ = flag.Set("rapid.checks", "25")
	goleak.VerifyTestMain(m)
}

// opened records the options of a test's stores, so that they can be opened again.
var opened sync.Map

func open(t testing.TB, o log.Options) *log.Store {
	t.Helper()
	if o.MaxSegment == 0 {
		o.MaxSegment = 64 << 10
	}
	s, err := log.Open(t.Context(), "store", &o)
	if err != nil {
		t.Fatal(err)
	}
	opened.Store(s, o)
	t.Cleanup(func() {
		_ = s.Close() // after an injected fault, it returns that error again
		opened.Delete(s)
	})
	return s
}

func reopen(t testing.TB, s store.Store) store.Store {
	t.Helper()
	_ = s.(*log.Store).Close()
	o, _ := opened.Load(s)
	return open(t, o.(log.Options))
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Driver{
		Open: func(t testing.TB) store.Store {
			return open(t, log.Options{FS: crashfs.New(1), KeepEvery: -1})
		},
		Reopen: reopen,
		Importing: func(t testing.TB) (storetest.Importing, func(bool) (storetest.Importing, error)) {
			o := log.Options{FS: crashfs.New(1), KeepEvery: -1, Import: true}
			s := open(t, o)
			return s, func(goesOn bool) (storetest.Importing, error) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				o.Import = goesOn
				again, err := log.Open(t.Context(), "store", &o)
				if err != nil {
					return nil, err
				}
				s = again
				t.Cleanup(func() { _ = again.Close() })
				return s, nil
			}
		},
		Bounded: func(t testing.TB, n int) store.Store {
			return open(t, log.Options{FS: crashfs.New(1), KeepEvery: -1, MaxTopics: n, MaxProducers: n, MaxCursors: n})
		},
		Quota: func(t testing.TB, bytes int64) store.Store {
			return open(t, log.Options{FS: crashfs.New(1), KeepEvery: -1, MaxStoredBytes: bytes})
		},
		Faulty: func(t testing.TB) (store.Store, storetest.Disk) {
			d := newDisk()
			return open(t, log.Options{FS: d, KeepEvery: -1}), d
		},
	})
}

func TestClose(t *testing.T) {
	storetest.Close(t, open(t, log.Options{FS: vfs.NewMem(), KeepEvery: -1}))
}

// disk is a file system whose syncs of segments can be delayed and made to fail.
type disk struct {
	*crashfs.FS

	mu      sync.Mutex
	blocked chan struct{} // closed when a sync is delayed
	release chan struct{} // nil, or closed to let syncs continue
}

func newDisk() *disk { return &disk{FS: crashfs.New(1)} }

var errInjected = errors.New("injected")

func (d *disk) Block() func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	release := make(chan struct{})
	d.blocked, d.release = make(chan struct{}), release
	return sync.OnceFunc(func() { close(release) })
}

func (d *disk) Blocked() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blocked
}

func (d *disk) Fail() func() {
	d.SetFault(func(op crashfs.Op, name string) error {
		if op == crashfs.Sync && strings.HasSuffix(name, ".seg") {
			return errInjected
		}
		return nil
	})
	return func() { d.SetFault(nil) }
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	if err == nil && strings.HasSuffix(name, ".seg") {
		return &diskFile{File: f, d: d}, nil
	}
	return f, err
}

type diskFile struct {
	vfs.File
	d *disk
}

func (f *diskFile) SyncData() error {
	f.d.mu.Lock()
	release := f.d.release
	if release != nil {
		select {
		case <-f.d.blocked:
		default:
			close(f.d.blocked)
		}
	}
	f.d.mu.Unlock()
	if release != nil {
		<-release
	}
	return f.File.SyncData()
}

// A segment that can't be made ends the log, unless the reason may be temporary: then
// appends are refused until it is gone.
func TestNoSegment(t *testing.T) {
	noise := make([]byte, 60<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	for _, c := range []struct {
		err    error
		passes bool
	}{
		{syscall.ENOSPC, true},
		{syscall.EMFILE, true},
		{syscall.ENOENT, false}, // the directory is gone
		{syscall.EIO, false},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			fs := crashfs.New(1)
			ended := atomic.Bool{}
			s := open(t, log.Options{FS: fs, KeepEvery: -1, Fatal: func(error) { ended.Store(true) }})
			b := &store.Block{Topic: "a", Codec: "json"}
			b.Add(noise)
			fs.SetFault(func(op crashfs.Op, name string) error {
				if op == crashfs.Create && strings.HasSuffix(name, ".seg") {
					return &os.PathError{Op: "open", Path: name, Err: c.err}
				}
				return nil
			})
			err := s.Append(t.Context(), b)[0].Err
			for n := 0; err == nil && n < 100; n++ {
				err = s.Append(t.Context(), b)[0].Err
			}
			if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, c.err) || ended.Load() == c.passes {
				t.Fatalf("%v, and ended: %v", err, ended.Load())
			}
			fs.SetFault(nil)
			if err := s.Append(t.Context(), b)[0].Err; (err == nil) != c.passes {
				t.Errorf("behind it: %v", err)
			}
		})
	}
}

// A claim that is answered before it is written is still written, once segments can be made
// again.
func TestNoSegmentForClaims(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 8 << 10})
	claimed, refused := 0, 0
	claim := func(attempt uint64) {
		p := store.Producer{Topic: "a", Name: fmt.Sprint(claimed + refused)}
		switch _, err := s.Claim(t.Context(), p, store.ClaimRequest{Attempt: attempt}); {
		case err == nil:
			claimed++
		case attempt > 0 && errors.Is(err, store.ErrUnavailable):
			refused++
		default:
			t.Fatal(err)
		}
	}
	fs.SetFault(func(op crashfs.Op, name string) error {
		if op == crashfs.Create && strings.HasSuffix(name, ".seg") {
			return syscall.ENOSPC
		}
		return nil
	})
	for n := 0; refused < 10; n++ {
		if n == 1000 {
			t.Fatal("there is always room")
		}
		claim(0)
		claim(1)
	}
	fs.SetFault(nil)
	claim(1)
	if i, err := s.Info(t.Context()); err != nil || i.Producers != claimed {
		t.Errorf("%d producers, %v, want %d", i.Producers, err, claimed)
	}
}

// An append that panics keeps neither its producer nor the store from going on.
func TestPanicWhileAppending(t *testing.T) {
	panics := false
	s := open(t, log.Options{FS: crashfs.New(1), KeepEvery: -1, Now: func() time.Time {
		if panics {
			panic("on purpose")
		}
		return time.Now()
	}})
	p := store.Producer{Topic: "a", Name: "p"}
	c, err := s.Claim(t.Context(), p, store.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	b := &store.Block{Topic: "a", Codec: "json", Producer: p, Epoch: c.Epoch, First: 1}
	b.Add([]byte(`{}`))
	appends := map[string]func(){
		"Append": func() { s.Append(t.Context(), b) },
		"Submit": func() { s.Submit(t.Context(), func([]store.Result) { t.Error("it is settled") }, b) },
	}
	for name, f := range appends {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			panics = true
			f()
		}()
		panics = false
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Append(ctx, b)[0].Err; err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// A panic where a submission is settled ends the log, on which others would wait for ever.
func TestPanicWhileSettling(t *testing.T) {
	var fatal atomic.Bool
	s := open(t, log.Options{FS: crashfs.New(1), KeepEvery: -1, Fatal: func(error) { fatal.Store(true) }})
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte(`{}`))
	s.Submit(t.Context(), func([]store.Result) { panic("on purpose") }, b)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Append(ctx, b)[0].Err; !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "on purpose") || !fatal.Load() {
		t.Errorf("afterwards: %v, and it was told: %v", err, fatal.Load())
	}
}
