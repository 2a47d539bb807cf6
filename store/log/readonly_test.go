package log_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// still is a file system that reports locks and all operations that would change it.
type still struct {
	vfs.FS

	changed atomic.Pointer[string]
}

var errStill = errors.New("this would change something")

func (f *still) tell(what, name string) error {
	what += " " + name
	f.changed.Store(&what)
	return errStill
}

func (f *still) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, f.tell("create", name)
}

func (f *still) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, f.tell("open to write", name)
}

func (f *still) ReuseForWrite(_, name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, f.tell("reuse", name)
}

func (f *still) Lock(name string) (io.Closer, error)       { return nil, f.tell("lock", name) }
func (f *still) Link(_, name string) error                 { return f.tell("link", name) }
func (f *still) Remove(name string) error                  { return f.tell("remove", name) }
func (f *still) RemoveAll(name string) error               { return f.tell("remove all of", name) }
func (f *still) Rename(_, name string) error               { return f.tell("rename", name) }
func (f *still) MkdirAll(name string, _ os.FileMode) error { return f.tell("make", name) }
func (f *still) OpenDir(name string) (vfs.File, error)     { return nil, f.tell("sync", name) }

// view opens the store read-only, and calls do with the damage that is reported.
func (w *world) view(do func(s *log.Store, told []string) error) (err error) {
	fs := &still{FS: w.fs}
	o := w.opts
	o.FS, o.ReadOnly = fs, true
	var told []string
	o.Damaged = func(d log.Damage) { told = append(told, d.Text) }
	s, err := log.Open(context.Background(), "store", &o)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, s.Close()); fs.changed.Load() != nil {
			err = errors.Join(err, fmt.Errorf("changed: %s", *fs.changed.Load()))
		}
	}()
	return do(s, told)
}

// viewWhole opens the store read-only. Everything acknowledged before is there, unless it
// was trimmed meanwhile, and no damage is reported.
func (w *world) viewWhole() error {
	acks := w.now()
	err := w.view(func(s *log.Store, told []string) error {
		acks.asked = w.now().asked
		_, _, err := acks.verify(s)
		_, e := s.Check(context.Background(), func(d *store.DamageError) { told = append(told, d.Error()) })
		if len(told) > 0 {
			err = errors.Join(err, fmt.Errorf("told: %q", told))
		}
		for p, n := range acks.numbers {
			last := uint64(0)
			for r, err := range s.Rejections(context.Background(), p, 0) {
				if err != nil {
					return err
				}
				last = r.Number
			}
			if last < n {
				err = errors.Join(err, fmt.Errorf("%s was acknowledged to %d, its last rejection is %d", p.Name, n, last))
			}
		}
		return errors.Join(err, e)
	})
	if errors.Is(err, os.ErrNotExist) && acks.head == 0 && acks.cursor.IsZero() {
		return nil // its first opening was never finished
	}
	return err
}

// TestReadOnlyBeside opens a store read-only again and again while another goroutine writes,
// trims and rolls it.
func TestReadOnlyBeside(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(seed)
		s, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		w.fs.CrashAfter(3000, false, nil)
		done := make(chan error)
		go func() { done <- w.work(s) }()
		n := 0
		for running := true; running; n++ {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			default:
			}
			if err := w.viewWhole(); err != nil {
				t.Fatalf("seed %d, opened %d times: %v", seed, n, err)
			}
		}
		t.Logf("opened %d times", n)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// On a store that is opened read-only, calls that would change it are refused, and calls
// that read it work.
func TestReadOnly(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1})
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte(`{}`))
	if r := s.Append(t.Context(), b)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if _, err := log.Open(t.Context(), "nowhere", &log.Options{FS: fs, ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that does not exist: %v", err)
	}
	r, err := log.Open(t.Context(), "store", &log.Options{FS: fs, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	head, err := r.Head(t.Context())
	if want, e := s.Head(t.Context()); err != nil || e != nil || head != want {
		t.Errorf("the head is %v, %v, want %v, %v", head, err, want, e)
	}
	p := store.Producer{Principal: "u", Topic: "a", Name: "p"}
	_, claim := r.Claim(t.Context(), p, store.ClaimRequest{})
	_, cursorClaim := r.ClaimCursor(t.Context(), cursor, store.CursorRequest{})
	for what, err := range map[string]error{
		"append": r.Append(t.Context(), b)[0].Err, "claim": claim, "claim a cursor": cursorClaim,
		"trim": r.Trim(t.Context(), "a", head), "reset": r.Reset(t.Context(), cursor, head),
		"forget": r.Forget(t.Context(), p), "ready": r.Ready(t.Context()), "tidy": r.Tidy(t.Context()),
	} {
		if !errors.Is(err, log.ErrReadOnly) || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A store that lacks a file can be read as far as it is there, but not be opened for
// writing.
func TestReadOnlyMissing(t *testing.T) {
	w := newWorld(1)
	w.opts.MaxSegment = 32 << 10
	s, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if err := appendNoise(t.Context(), s, n, 9000); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range w.fs.Files() {
		if filepath.Ext(name) == ".seg" {
			w.fs.Delete(name)
			break
		}
	}
	if err := w.view(func(s *log.Store, _ []string) error {
		r, err := s.Check(t.Context(), func(*store.DamageError) {})
		if r.Damages == 0 || r.Records == 0 || len(r.Missing) != 1 {
			t.Errorf("%+v", r)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Open(t.Context(), "store", &log.Options{FS: w.fs}); !errors.Is(err, log.ErrDamaged) {
		t.Errorf("opened to write: %v", err)
	}
}

// A store in a directory without write permission, on a real file system.
func TestReadOnlyFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := log.Open(t.Context(), dir, &log.Options{KeepEvery: -1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	b := &store.Block{Topic: "a", Codec: "json"}
	b.Add([]byte(`{"a":1}`))
	if err := errors.Join(s.Append(t.Context(), b)[0].Err, s.Close()); err != nil {
		t.Fatal(err)
	}
	modes := func(file, folder os.FileMode) {
		if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
			if d.IsDir() {
				return os.Chmod(path, 0o700)
			}
			return os.Chmod(path, file)
		}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chmod(filepath.Join(dir, "states"), folder), os.Chmod(dir, folder)); err != nil {
			t.Fatal(err)
		}
	}
	modes(0o400, 0o500)
	defer modes(0o600, 0o700)
	before := state(t, dir)
	s, err = log.Open(t.Context(), dir, &log.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Check(t.Context(), func(d *store.DamageError) { t.Error(d) })
	if err != nil || r.Records != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if i, err := s.Info(t.Context()); err != nil || i.FreeBytes == 0 {
		t.Errorf("%+v, %v", i, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after := state(t, dir); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// state returns the names, contents and modification times of all files in a directory.
func state(t *testing.T, dir string) (text string) {
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text += fmt.Sprint(path, info.Mode(), info.ModTime())
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %x", sha256.Sum256(b))
		}
		text += "\n"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return text
}

// busy is a file system that calls a function each time a file or a directory is read.
type busy struct {
	vfs.FS

	do func()
}

func (f *busy) List(dir string) ([]string, error) {
	f.do()
	defer f.do()
	return f.FS.List(dir)
}

func (f *busy) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f.do()
	defer f.do()
	return f.FS.Open(name, o...)
}

// Records are appended whenever a read-only opening reads anything. The opening sees all
// records that were there when it began, and does not take later ones for damage.
func TestReadOnlyMoves(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 8 << 10})
	n := 0
	add := func() {
		if err := appendNoise(t.Context(), s, n, 300); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for range 12 {
		add()
		before, left := uint64(n), 1000
		moves := func() {
			if left--; left > 0 {
				add()
			}
		}
		r, err := log.Open(t.Context(), "store", &log.Options{
			FS: &busy{fs, moves}, ReadOnly: true, Damaged: func(d log.Damage) { t.Errorf("after %d records: %+v", before, d) },
		})
		if err != nil {
			t.Fatal(err)
		}
		report, err := r.Check(t.Context(), func(d *store.DamageError) { t.Errorf("after %d records: %v", before, d) })
		if err != nil || report.Records < before {
			t.Errorf("%d records, want %d (%v)", report.Records, before, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// frugal is a file system that counts the open files, and does not support links.
type frugal struct {
	vfs.FS

	open, most int
}

func (f *frugal) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	f.open++
	f.most = max(f.most, f.open)
	return &frugalFile{file, f}, nil
}

func (*frugal) Link(string, string) error { return errors.ErrUnsupported }

type frugalFile struct {
	vfs.File

	fs *frugal
}

func (f *frugalFile) Close() error {
	f.fs.open--
	return f.File.Close()
}

// A store of many segments is read and copied with only some of its files open at a time.
// If one that is not open is removed meanwhile, that is reported, but not as damage.
func TestReadOnlyManySegments(t *testing.T) {
	const blocks = 200
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 4 << 10})
	for n := range blocks {
		if err := appendNoise(t.Context(), s, n, 4<<10); err != nil {
			t.Fatal(err)
		}
	}
	few := &frugal{FS: fs}
	r, err := log.Open(t.Context(), "store", &log.Options{FS: few, ReadOnly: true, Damaged: func(d log.Damage) { t.Error(d) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Backup(t.Context(), "copy"); err != nil {
		t.Fatal(err)
	}
	if few.most > 150 {
		t.Errorf("%d files were open at a time", few.most)
	}
	c, err := log.Open(t.Context(), "copy", &log.Options{FS: fs, KeepEvery: -1, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	report, err := c.Check(t.Context(), func(d *store.DamageError) { t.Error(d) })
	if err != nil || report.Records != blocks {
		t.Errorf("the copy has %d records, want %d: %v", report.Records, blocks, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	i, err := s.Info(t.Context())
	if err != nil || i.Segments < blocks-10 {
		t.Fatalf("%d segments: %v", i.Segments, err)
	}
	if err := errors.Join(s.Trim(t.Context(), "a", i.Head), s.Tidy(t.Context())); err != nil {
		t.Fatal(err)
	}
	_, err = r.Check(t.Context(), func(d *store.DamageError) { t.Error(d) })
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "open it again") {
		t.Errorf("what was removed was read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if few.open != 0 {
		t.Errorf("%d files are open still", few.open)
	}
}

// restless is a file system that calls a function at the nth operation after a snapshot was
// begun, a limited number of times.
type restless struct {
	vfs.FS

	nth, uses, left int
	do              func()
}

func (f *restless) use() {
	if f.uses++; f.uses == f.nth && f.left > 0 {
		f.left--
		f.do()
	}
}

func (f *restless) List(dir string) ([]string, error) {
	f.use()
	return f.FS.List(dir)
}

func (f *restless) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if filepath.Base(name) == "synced" { // the first file that is read
		f.uses = 0
	}
	f.use()
	return f.FS.Open(name, o...)
}

// At the same moment of each attempt to open a store read-only, a checkpoint is made and
// segments are freed. The states never include frames that the attempt does not see.
func TestReadOnlyCheckpoints(t *testing.T) {
	fs := crashfs.New(1)
	s := open(t, log.Options{FS: fs, KeepEvery: -1, MaxSegment: 8 << 10})
	n := 0
	add := func() {
		if err := appendNoise(t.Context(), s, n, 9000); err != nil {
			t.Fatal(err)
		}
		n++
	}
	move := func() {
		for range 3 {
			add()
		}
		head, err := s.Head(t.Context())
		if err := errors.Join(err, s.Trim(t.Context(), "a", head), s.Tidy(t.Context())); err != nil {
			t.Fatal(err)
		}
		add()
	}
	for nth := 1; ; nth++ {
		move()
		moves := &restless{FS: fs, nth: nth, left: 6, do: move} // more often than an opening is retried
		r, err := log.Open(t.Context(), "store", &log.Options{
			FS: moves, ReadOnly: true, Damaged: func(d log.Damage) { t.Errorf("moved at use %d: %+v", nth, d) },
		})
		if err != nil {
			t.Fatalf("moved at use %d: %v", nth, err)
		}
		if _, err := r.Check(t.Context(), func(d *store.DamageError) { t.Errorf("moved at use %d: %v", nth, d) }); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if moves.left == 6 {
			t.Logf("%d moments", nth-1)
			break
		}
	}
}
