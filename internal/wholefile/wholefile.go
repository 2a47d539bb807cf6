// Package wholefile writes small files so that whoever reads one has all of it.
package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file in place of another, whose owner and permissions it takes; where
// there is none, it has mode. After a crash, one of them is there.
func Replace(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // for its owner alone
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if info, was := os.Stat(path); was == nil {
		mode = info.Mode().Perm()
		err = errors.Join(err, sameOwner(f, info))
	}
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}
