package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Copy makes a copy of the store in a directory, which another process may have open:
// it takes no lock and changes nothing there. The copy is a store as after a crash; it
// holds what was durable when Copy began, and its first opening gives it another tag,
// as with [Store.Backup]. Until it is whole it stands beside to, as to.part, which does
// not open.
//
// The states are not copied, as they follow from the log.
func Copy(ctx context.Context, from, to string) error {
	c := &copying{s: &Store{fs: private{vfs.Default}, dir: from}, to: to + ".part"}
	if _, err := c.s.fs.Stat(to); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: backup to %s: %w", to, fs.ErrExist)
	}
	var err error
	for range copyTries {
		if err = c.run(ctx); !errors.Is(err, errFreed) {
			break
		}
	}
	if err == nil {
		err = errors.Join(c.s.fs.Rename(c.to, to), syncDir(c.s.fs, c.s.fs.PathDir(to)))
	}
	if err != nil {
		return fmt.Errorf("store: backup to %s: %w", to, errors.Join(err, c.s.fs.RemoveAll(c.to)))
	}
	return nil
}

// incompleteName is a file that a directory with a store can't have.
const incompleteName = "incomplete"

// copyTries is how often a copy is begun, where segments go meanwhile.
const copyTries = 10

var errFreed = errors.New("segments are freed faster than they are copied")

// A copying is one attempt at a copy.
type copying struct {
	s  *Store // of which only the directory is known
	to string
}

// run copies all segments. Of those that were made last, one is active and has a
// successor without frames, whose header alone is copied: frames that come into it
// meanwhile would stand after some that are not in the copy.
func (c *copying) run(ctx context.Context) error {
	if err := c.s.fs.RemoveAll(c.to); err != nil {
		return err
	}
	r := &recovery{s: c.s}
	if err := r.list(); err != nil {
		return cause(err)
	}
	var numbers []uint64
	for n := range r.files {
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		return os.ErrNotExist
	}
	slices.Sort(numbers)
	if err := makeDir(c.s.fs, c.to); err != nil {
		return err
	}
	mark := c.s.fs.PathJoin(c.to, incompleteName)
	if err := errors.Join(c.s.copyFile(nil, 0, mark), syncDir(c.s.fs, c.to)); err != nil {
		return err
	}
	// What the slots say counts before what stands in the segments.
	if err := c.copy(slotsName, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i, n := range numbers {
		for _, rev := range r.files[n] {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			end := whole
			switch i {
			case len(numbers) - 1:
				end = headerOnly
			case len(numbers) - 2:
				end = frames
			}
			err := c.copy(fileName(n, rev, segmentSuffix), end)
			if errors.Is(err, fs.ErrNotExist) {
				return errFreed
			}
			if err != nil {
				return err
			}
		}
	}
	if err := c.s.copyFile(nil, 0, c.s.fs.PathJoin(c.to, backupName)); err != nil {
		return err
	}
	return errors.Join(syncDir(c.s.fs, c.to), c.s.fs.Remove(mark), syncDir(c.s.fs, c.to))
}

// copy copies a file, as far as end says; nil for all of it.
func (c *copying) copy(name string, end func(vfs.File) (int64, error)) error {
	f, err := c.s.fs.Open(c.s.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if end == nil {
		end = whole
	}
	size, err := end(f)
	if err != nil {
		return err
	}
	return c.s.copyFile(f, size, c.s.fs.PathJoin(c.to, name))
}

func whole(f vfs.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// headerOnly returns where the frames of a segment begin, or where the file ends if
// it has no valid header.
func headerOnly(f vfs.File) (int64, error) {
	_, start, err := readHeader(f)
	if errors.Is(err, errHeader) {
		return whole(f)
	}
	return start, err
}

// frames returns where the frames of a segment end that are there by now: all before
// the last one were written before it. If the header can't be read, that is where the
// file ends, so that whoever opens the copy is told.
func frames(f vfs.File) (int64, error) {
	h, start, err := readHeader(f)
	if errors.Is(err, errHeader) {
		return whole(f)
	}
	if err != nil {
		return 0, err
	}
	size, err := whole(f)
	if err != nil {
		return 0, err
	}
	sc := &scanner{file: f, seed: seed(h.Number, h.Salt), at: start, limit: size, gaps: true, heads: true}
	end := start
	for sc.next() {
		if sc.damage == nil {
			end = sc.at
		}
	}
	return end, sc.err
}
