package log_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// TestFullDisk fills a small disk: a file system in memory, which the test mounts in a
// mount namespace of its own, and which gets as full as any other.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv("DICTWIRE_TEST_FULL"); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m"); err != nil {
			t.Fatal(err)
		}
		t.Run("durability", func(t *testing.T) { testDurability(t, filepath.Join(dir, "durability")) })
		t.Run("reserve", func(t *testing.T) { testReserveOfSmallDisk(t, filepath.Join(dir, "reserve")) })
		t.Run("trim", func(t *testing.T) { testTrimOnFullDisk(t, filepath.Join(dir, "trim")) })
		t.Run("none", func(t *testing.T) { testNoSpaceLeft(t, filepath.Join(dir, "none")) })
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v", "-test.timeout=45s")
	cmd.Env = append(os.Environ(), "DICTWIRE_TEST_FULL="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if id := os.Geteuid(); id != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: id, Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("this test runs as root, or where users may have name spaces; here it ended with %v:\n%s", err, out)
	}
	t.Logf("%s", out)
}

// A file system in memory does not survive the loss of power, whatever is synced.
func testDurability(t *testing.T, dir string) {
	s, err := log.Open(t.Context(), dir, &log.Options{KeepEvery: -1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	r, err := log.Open(t.Context(), dir, &log.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*log.Store{s, r} {
		info, err := s.Info(t.Context())
		if err != nil || info.Durability != store.OS || s.Limits().Durability != store.OS {
			t.Errorf("in memory: %+v, %v", info, err)
		}
	}
	if err := errors.Join(r.Close(), s.Close(), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
}

// filler uses up space until it is freed.
func filler(t *testing.T, size int) (free func()) {
	t.Helper()
	name := filepath.Join(os.Getenv("DICTWIRE_TEST_FULL"), "filler")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// numbered is a producer that counts its acknowledged records.
type numbered struct {
	p     store.Producer
	claim store.Claim
	acked uint64
	rng   *rand.ChaCha8
}

// append appends records of 256 KiB until an append fails, and claims the producer again
// after each failure.
func (n *numbered) append(ctx context.Context, s *log.Store) (err error) {
	if n.claim, err = s.Claim(ctx, n.p, store.ClaimRequest{Acked: n.acked}); err != nil {
		return err
	}
	if n.claim.Next <= n.acked {
		return fmt.Errorf("%d was acknowledged, and %d is wanted", n.acked, n.claim.Next)
	}
	for n.acked = n.claim.Next - 1; ; n.acked++ {
		b := &store.Block{Topic: n.p.Topic, Codec: "json", Producer: n.p, Epoch: n.claim.Epoch, First: n.acked + 1}
		noise := make([]byte, 256<<10)
		_, _ = n.rng.Read(noise) // never fails
		b.Add(noise)
		if err := s.Append(ctx, b)[0].Err; err != nil {
			return err
		}
	}
}

// verify reads the acknowledged records.
func (n *numbered) verify(t *testing.T, s *log.Store) {
	t.Helper()
	seen := uint64(0)
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{n.p.Topic}}) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Block == nil {
			continue
		}
		if b.Block.First != seen+1 {
			t.Fatalf("number %d behind %d", b.Block.First, seen)
		}
		seen++
	}
	if seen < n.acked {
		t.Fatalf("%d were acknowledged, and %d are there", n.acked, seen)
	}
}

func newNumbered() *numbered {
	return &numbered{p: store.Producer{Topic: "a", Name: "x"}, rng: rand.NewChaCha8([32]byte{})}
}

// resume appends again, as soon as the store allows it.
func (n *numbered) resume(t *testing.T, s *log.Store) {
	t.Helper()
	before := n.acked
	for deadline := time.Now().Add(time.Minute); n.acked < before+4; {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := n.append(ctx, s)
		cancel()
		if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) || time.Now().After(deadline) {
			t.Fatalf("nothing was stored for a minute: %v", err)
		}
	}
}

func testReserveOfSmallDisk(t *testing.T, dir string) {
	free := filler(t, 16<<20)
	s, err := log.Open(t.Context(), dir, &log.Options{Reserve: 8 << 20, Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	defer s.Close()
	n := newNumbered()
	if err := n.append(t.Context(), s); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Bavail == 0 {
		t.Fatalf("the reserve was written: %d blocks are left (%v)", fs.Bavail, err)
	}
	n.verify(t, s)
	free()
	n.resume(t, s)
	n.verify(t, s)
}

// testNoSpaceLeft has no reserve, so that the disk becomes full. Then the log can't
// continue, or accepts nothing for a while. In neither case is anything lost that was
// acknowledged.
func testNoSpaceLeft(t *testing.T, dir string) {
	free := filler(t, 16<<20)
	fatal := atomic.Int32{}
	o := &log.Options{Reserve: -1, Fatal: func(error) { fatal.Add(1) }}
	s, err := log.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	n := newNumbered()
	if err := n.append(t.Context(), s); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk was full, and the store says %v", err)
	}
	n.verify(t, s)
	t.Logf("the log could go on: %v", fatal.Load() == 0)
	if fatal.Load() > 0 {
		_ = s.Close() // returns that error once more
		if s, err := log.Open(t.Context(), dir, o); err == nil {
			n.verify(t, s)
			_ = s.Close()
		}
		free()
		if s, err = log.Open(t.Context(), dir, o); err != nil {
			t.Fatal(err)
		}
	} else {
		free()
	}
	defer s.Close()
	n.verify(t, s)
	n.resume(t, s)
	n.verify(t, s)
}

// testTrimOnFullDisk fills the disk to its last block, again and again. Trims, of whole
// segments or of parts of mixed ones, free space, and appends continue without a restart,
// or after a restart that finds the disk full.
func testTrimOnFullDisk(t *testing.T, dir string) {
	for _, every := range []int{4, 1 << 30} { // one record in so many is kept
		o := &log.Options{Reserve: -1, Fatal: func(err error) { t.Error(err) }}
		s, err := log.Open(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		rng, kept := rand.NewChaCha8([32]byte{}), 0
		put := func(n int) (err error) {
			b := &store.Block{Topic: "gone", Codec: "json"}
			if n%every == every-1 {
				b.Topic = "kept"
			}
			noise := make([]byte, 32<<10)
			_, _ = rng.Read(noise) // never fails
			b.Add(noise)
			if err = s.Append(t.Context(), b)[0].Err; err == nil && b.Topic == "kept" {
				kept++
			}
			return err
		}
		for round := range 4 {
			n, err := 0, error(nil)
			for err == nil {
				err = put(n)
				n++
			}
			if !errors.Is(err, store.ErrUnavailable) || n < 50 {
				t.Fatalf("round %d: after %d records: %v", round, n, err)
			}
			free := fillUp(t)
			if round == 2 {
				_ = s.Close() // there may be no space to record that the store was closed
				if s, err = log.Open(t.Context(), dir, o); err != nil {
					t.Fatalf("the disk is full: %v", err)
				}
			}
			head, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Trim(t.Context(), "gone", head); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if err := s.Tidy(t.Context()); err != nil {
				t.Logf("round %d of 1 in %d: %v", round, every, err)
			}
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if err = put(0); err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("round %d of 1 in %d: trimmed, and still: %v; then %v", round, every, err, s.Tidy(t.Context()))
				}
			}
			free()
			there := 0
			for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{Topics: []string{"kept"}}) {
				if err != nil {
					t.Fatal(err)
				}
				if b.Block != nil {
					there++
				}
			}
			if there != kept {
				t.Fatalf("round %d: %d records are there, want %d", round, there, kept)
			}
			// What the store frees from now on is not taken by the filler.
			if err := errors.Join(s.Trim(t.Context(), "kept", head), s.Tidy(t.Context())); err != nil {
				t.Fatal(err)
			}
			stats, err := s.Topics(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range stats {
				if st.Name == "kept" {
					kept = int(st.Records)
				}
			}
		}
		if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// fillUp leaves no free block on the disk.
func fillUp(t *testing.T) (free func()) {
	t.Helper()
	name := filepath.Join(os.Getenv("DICTWIRE_TEST_FULL"), "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(b)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}
