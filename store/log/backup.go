package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// incompleteName is a file that marks an unfinished copy.
const incompleteName = "incomplete"

// Backup implements [store.Backuper]. The store may also be opened read-only while
// another process has it open; the copy then has what was there when it was opened.
// Sealed segments are linked instead of copied if the file system can do that. The copy
// is made in dir.part, which can't be opened as a store, and renamed when it is complete.
// An unfinished dir.part is replaced; anything else of that name is left alone, and the
// error wraps fs.ErrExist, as it does if dir exists.
//
// The states are not copied, since they follow from the log.
func (s *Store) Backup(ctx context.Context, dir string) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	dir = filepath.Clean(dir) // or a slash at its end would put the copy inside it
	if s.snapshot != nil {
		return s.snapshot.backup(ctx, dir, s.meter(s.snapshot.size()))
	}
	for range backupTries {
		var sn *snapshot
		if sn, err = takeSnapshot(s.fs, s.dir); err != nil {
			return fmt.Errorf("store: backup: %w", cause(err))
		}
		if err = errors.Join(sn.backup(ctx, dir, s.meter(sn.size())), sn.Close()); !errors.Is(err, errRemoved) {
			break
		}
	}
	return err
}

// backupTries is how often a backup is started again because segments were removed before
// their files were opened.
const backupTries = 3

// size returns the size of the segments, in bytes.
func (sn *snapshot) size() (n uint64) {
	for _, v := range sn.segments {
		n += sn.sizeOf(v)
	}
	return n
}

// sizeOf returns the size of a segment in bytes, or 0 if it was removed meanwhile.
func (sn *snapshot) sizeOf(v revision) uint64 {
	info, err := sn.Stat(sn.path(v.name()))
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

// backup makes a copy.
func (sn *snapshot) backup(ctx context.Context, dir string, m *meter) (err error) {
	to, part := sn.FS, dir+".part"
	if _, err := to.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: backup to %s: %w", dir, fs.ErrExist)
	}
	if _, err := to.Stat(part); err == nil || !errors.Is(err, fs.ErrNotExist) {
		if _, err := to.Stat(to.PathJoin(part, incompleteName)); err != nil {
			return fmt.Errorf("store: backup to %s: %s is there, and is no unfinished backup: %w", dir, part, fs.ErrExist)
		}
	}
	if err = sn.copyTo(ctx, part, m); err == nil {
		err = errors.Join(to.Rename(part, dir), syncDir(to, to.PathDir(dir)))
	}
	if err != nil {
		return fmt.Errorf("store: backup to %s: %w", dir, errors.Join(err, to.RemoveAll(part)))
	}
	return nil
}

// copyTo makes a copy in a directory, durably. A file marks it as one that was never
// opened.
func (sn *snapshot) copyTo(ctx context.Context, dir string, m *meter) error {
	to := sn.FS
	path := func(name string) string { return to.PathJoin(dir, name) }
	if err := errors.Join(to.RemoveAll(dir), makeDir(to, dir)); err != nil {
		return err
	}
	if err := errors.Join(syncFile(to, path(incompleteName)), syncDir(to, dir)); err != nil {
		return err
	}
	for i, v := range sn.segments {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		from := sn.path(v.name())
		if i < sn.sealed() && to.Link(from, path(v.name())) == nil {
			if err := syncFile(to, path(v.name())); err != nil {
				return err
			}
			m.add(sn.sizeOf(v))
			continue
		}
		if err := sn.copyFile(from, path(v.name()), m); err != nil {
			return err
		}
	}
	if err := sn.copyFile(sn.path(slotsName), path(slotsName), nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(syncFile(to, path(backupName)), syncDir(to, dir), to.Remove(path(incompleteName)), syncDir(to, dir))
}

// copyFile copies one of the files, durably.
func (sn *snapshot) copyFile(from, to string, m *meter) error {
	f, err := sn.Open(from)
	if err != nil {
		return err
	}
	c, err := sn.FS.OpenReadWrite(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{io.TeeReader(f, m)}, make([]byte, 1<<20))
	return errors.Join(err, c.Sync(), c.Close(), f.Close())
}
