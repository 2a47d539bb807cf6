package storedir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dictwire/dictwire/internal/storedir"
)

func TestReserve(t *testing.T) {
	const working = 12 << 20
	for _, c := range []struct {
		want  int64
		total uint64
		get   uint64
		err   string
	}{
		{want: -1, total: 1 << 20, get: 0},
		{want: 0, total: 64 << 20, get: 64 << 20 / 10},   // a tenth of a small disk
		{want: 0, total: 5 << 30, get: 5 << 30 / 10},     // still less than 1 GiB
		{want: 0, total: 20 << 30, get: 1 << 30},         // 1 GiB
		{want: 0, total: 1000 << 30, get: 20 << 30},      // 2 %
		{want: 1 << 30, total: 20 << 30, get: 1 << 30},   // as asked
		{want: 20 << 20, total: 64 << 20, get: 20 << 20}, // more than a tenth, as asked
		{
			want: 1 << 30, total: 64 << 20,
			err: "nothing could ever be stored: a reserve of 1024 MiB and 12 MiB to work with, on a disk of 64 MiB",
		},
		{want: 64 << 20, total: 64 << 20, err: "nothing could ever be stored: a reserve of 64 MiB and 12 MiB to work with, on a disk of 64 MiB"},
		{want: 60 << 20, total: 64 << 20, err: "nothing could ever be stored: a reserve of 60 MiB and 12 MiB to work with, on a disk of 64 MiB"},
	} {
		got, err := storedir.Reserve(c.want, storedir.Usual(c.total), c.total, working)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != c.get || text != c.err || (err != nil) != errors.Is(err, storedir.ErrReserve) {
			t.Errorf("a reserve of %d of %d bytes: %d, %v, want %d, %s", c.want, c.total, got, err, c.get, c.err)
		}
	}
}

func TestCheckEmpty(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{"lost+found"}, ""},
		{[]string{"notes.txt"}, `the directory holds other files: "notes.txt"`},
		{[]string{"d", "lost+found", "a", "b\x1b", "c"}, `the directory holds other files: "a", "b\x1b", "c" and 1 more`},
	} {
		err := storedir.CheckEmpty(c.names)
		if text := errorText(err); text != c.want || (err != nil) != errors.Is(err, storedir.ErrForeign) {
			t.Errorf("%q: %v, want %s", c.names, err, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestGuard(t *testing.T) {
	for _, c := range []struct{ mode, had, now fs.FileMode }{
		{0o700, 0, 0o700},
		{0o750, 0, 0o750}, // the group was given it on purpose
		{0o755, 0o755, 0o700},
		{0o777, 0o777, 0o700},
		{0o701, 0o701, 0o700},
	} {
		dir := filepath.Join(t.TempDir(), "store")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, c.mode)); err != nil {
			t.Fatal(err)
		}
		had, err := storedir.Guard(dir)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if had != c.had || info.Mode().Perm() != c.now {
			t.Errorf("mode %#o: had %#o, is %#o; want %#o, %#o", c.mode, had, info.Mode().Perm(), c.had, c.now)
		}
	}
}
