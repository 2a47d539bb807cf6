package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// incompleteName is a file that a directory with a store can't have.
const incompleteName = "incomplete"

// Backup implements [store.Backuper]. The store may be opened read-only, beside the
// process that has it open; the copy then is of what there was when it was opened.
// Sealed segments are linked, not copied, where the file system allows it. Until the
// copy is whole it stands beside dir, as dir.part, which does not open.
//
// The states are not copied, as they follow from the log.
func (s *Store) Backup(ctx context.Context, dir string) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	sn := s.snapshot
	if sn == nil {
		if sn, err = takeSnapshot(s.fs, s.dir); err != nil {
			return fmt.Errorf("store: backup: %w", cause(err))
		}
		defer func() { err = errors.Join(err, sn.Close()) }()
	}
	to, part := sn.FS, dir+".part"
	if _, err := to.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: backup to %s: %w", dir, fs.ErrExist)
	}
	if err = sn.copyTo(ctx, part); err == nil {
		err = errors.Join(to.Rename(part, dir), syncDir(to, to.PathDir(dir)))
	}
	if err != nil {
		return fmt.Errorf("store: backup to %s: %w", dir, errors.Join(err, to.RemoveAll(part)))
	}
	return nil
}

// copyTo makes a copy in a directory, durably. The mark says that it was never opened.
func (sn *snapshot) copyTo(ctx context.Context, dir string) error {
	to := sn.FS
	path := func(name string) string { return to.PathJoin(dir, name) }
	if err := errors.Join(to.RemoveAll(dir), makeDir(to, dir)); err != nil {
		return err
	}
	if err := errors.Join(copyFile(to, nil, path(incompleteName)), syncDir(to, dir)); err != nil {
		return err
	}
	for i, v := range sn.segments {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		from := sn.path(v.name())
		if i < sn.sealed() && to.Link(from, path(v.name())) == nil {
			if err := copyFile(to, nil, path(v.name())); err != nil {
				return err
			}
			continue
		}
		if err := copyFile(to, sn.pinned[from], path(v.name())); err != nil {
			return err
		}
	}
	if err := copyFile(to, sn.pinned[sn.path(slotsName)], path(slotsName)); err != nil {
		return err
	}
	return errors.Join(copyFile(to, nil, path(backupName)), syncDir(to, dir), to.Remove(path(incompleteName)), syncDir(to, dir))
}

// copyFile makes a file durable: the copy of another one, or, where from is nil, one
// that is there, or empty.
func copyFile(fsys vfs.FS, from *pinned, to string) error {
	f, err := fsys.OpenReadWrite(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if from != nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.NewSectionReader(from.read, 0, from.size), make([]byte, 1<<20))
	}
	return errors.Join(err, f.Sync(), f.Close())
}
