//go:build unix

package log_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/log"
)

// Whatever the umask, the files and directories of a store and of its backup are accessible
// to their owner alone, and existing ones are closed to others. The test changes the umask
// of the process, so it can't run in parallel with others.
func TestPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "store")
	use := func(n int) {
		s, err := log.Open(t.Context(), dir, &log.Options{MaxSegment: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			b := &store.Block{Topic: "a", Codec: "json"}
			b.Add(fmt.Appendf(nil, "%030000d", 1))
			if err := s.Append(t.Context(), b)[0].Err; err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(s.Backup(t.Context(), fmt.Sprint(dir, n)), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	private := func(dir string) {
		t.Helper()
		n := 0
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			n++
			if info, err := e.Info(); err != nil {
				return err
			} else if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has the mode %v", path, info.Mode())
			}
			return nil
		})
		if err != nil || n == 0 {
			t.Fatalf("%d files, %v", n, err)
		}
	}
	use(1)
	private(dir)
	private(dir + "1")
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chmod(path, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	use(2)
	private(dir)
	private(dir + "2")
}
