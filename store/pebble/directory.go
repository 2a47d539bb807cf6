package pebble

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/internal/storedir"
)

// errParts is what lookFor wraps where a store lies that is not whole. The engine
// would make a new one there, and delete the tables of the old one.
var errParts = errors.New("a store lies here that is not whole; restore it from a backup")

// lookFor reports whether a store lies in a directory. The error says why none may be
// made or opened there; nothing has been changed then.
func lookFor(fs vfs.FS, dir string) (found bool, err error) {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	store, err := engine.Peek(dir, fs)
	if err != nil {
		return false, err
	}
	if store.Exists {
		return true, nil
	}
	held := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !holdsRecords(name) })
	if len(held) > 0 {
		slices.Sort(held)
		return false, fmt.Errorf("%w: there is %s, and the file %s… is missing", errParts, storedir.List(held), markManifest)
	}
	return false, storedir.CheckEmpty(slices.DeleteFunc(names, isBegun))
}

// markManifest begins the name of the empty file whose name says which of the others
// count.
const markManifest = "marker.manifest."

// holdsRecords reports whether a name is that of a file that the engine makes only
// where a store is.
func holdsRecords(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".blob")
}

// isBegun reports whether a name is that of a file that the engine makes before a
// store is there: it stays where a crash ended that.
func isBegun(name string) bool {
	return name == "LOCK" || strings.HasPrefix(name, "MANIFEST-") || strings.HasPrefix(name, "OPTIONS-") ||
		strings.HasPrefix(name, "temporary.") || strings.HasPrefix(name, "marker.format-version.")
}

// makeDir makes a directory, and what lies above it, so that a loss of power
// leaves it.
func makeDir(fs vfs.FS, dir string) error {
	var parents []string // of what is made
	for at := dir; ; at = fs.PathDir(at) {
		if _, err := fs.Stat(at); err == nil || at == fs.PathDir(at) {
			break
		}
		parents = append(parents, fs.PathDir(at))
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range parents {
		d, err := fs.OpenDir(parent)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// private is the operating system's file system, where each file is its owner's
// alone.
type private struct{ vfs.FS }

func (p private) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Lock also narrows what a release before this one left open to others.
func (p private) Lock(name string) (io.Closer, error) {
	l, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	dir := p.PathDir(name)
	names, err := p.List(dir)
	for _, name := range names {
		path := p.PathJoin(dir, name)
		if info, e := os.Lstat(path); e == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			err = errors.Join(err, os.Chmod(path, 0o600))
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Unwrap returns the file system within.
func (p private) Unwrap() vfs.FS { return p.FS }
