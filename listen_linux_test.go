package dictwire_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dictwire/dictwire"
)

// A socket that another program has bound is that program's even before it listens, however
// the path is written. A file that is not a lock is left alone.
func TestListenBound(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Symlink(dir, "link"); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{
		"absolute": filepath.Join(dir, "absolute"), "relative": "relative", "linked": filepath.Join(dir, "link", "linked"),
	} {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: other}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{name, filepath.Join(dir, name), filepath.Join("link", name)} {
			if _, err := dictwire.Listen(t.Context(), "unix:"+path); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s: Listen = %v", path, err)
			}
		}
		if err := syscall.Listen(fd, 1); err != nil {
			t.Error(err)
		}
		c, err := net.Dial("unix", name)
		if err != nil {
			t.Fatalf("%s: the socket is not its maker's any more: %v", name, err)
		}
		_ = c.Close()
	}
	if err := os.WriteFile("mine.lock", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dictwire.Listen(t.Context(), "unix:mine"); err == nil || !strings.Contains(err.Error(), "mine.lock is there, and is no lock") {
		t.Errorf("Listen = %v", err)
	}
	if _, err := os.Stat("mine.lock"); err != nil {
		t.Error(err)
	}
}

// An abstract socket is not a file, and belongs to one server at a time.
func TestListenAbstract(t *testing.T) {
	t.Chdir(t.TempDir())
	addr := "unix:@dictwire-test-" + itoa(os.Getpid())
	for range 2 {
		l, err := dictwire.Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dictwire.Listen(t.Context(), addr); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second one: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
