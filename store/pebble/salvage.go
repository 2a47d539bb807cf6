package pebble

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrCut is what Open wraps where files of the store were cut off: see
// Options.Salvage.
var ErrCut = errors.New("files were cut off")

// cut finds the files in the engine's complaint that tables are not as long as
// they were written.
var cut = regexp.MustCompile(`object size mismatch \((.+?)\): (\d+) \(disk\) != (\d+) \(MANIFEST\)`)

// salvage makes files that were cut as long as they were, with zeros, so that
// the engine opens and finds the damage where it is read. It reports whether
// there were any.
func salvage(fs vfs.FS, complaint error) (bool, error) {
	found := cut.FindAllStringSubmatch(complaint.Error(), -1)
	for _, m := range found {
		have, _ := strconv.ParseInt(m[2], 10, 64)
		want, _ := strconv.ParseInt(m[3], 10, 64)
		if have >= want {
			return false, nil // longer than it was: not what we mend
		}
		if err := pad(fs, m[1], have, want); err != nil {
			return false, fmt.Errorf("salvage %s: %w", m[1], err)
		}
	}
	return len(found) > 0, nil
}

func pad(fs vfs.FS, name string, have, want int64) error {
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := have; at < want; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), want-at)], at)
		if err != nil {
			_ = f.Close()
			return err
		}
		at += int64(n)
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
