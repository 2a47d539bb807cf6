package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dictwire/dictwire/internal/wholefile"
)

// Read reads a file.
func Read(path string) (*List, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	list, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// readFile reads a file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // it is the caller's to say which
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: more than %d bytes", path, maxFile)
	}
	return b, err
}

// Edit changes a file: it reads the file, calls change, and writes the changed list
// unless change returns an error. Readers see the old list or the new one, and no other
// Edit comes between. If there is no file and create is set, the list is empty, and the
// file is created for its owner only.
func Edit(path string, create bool, change func(*List) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // write the file, not the link
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	list, err := Read(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		list, err = new(List), nil
	}
	if err != nil {
		return err
	}
	if err := change(list); err != nil {
		return err
	}
	text := list.Append(nil)
	if _, err := Parse(text); err != nil {
		return err
	}
	return wholefile.Replace(path, text, 0o600)
}
