package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Backup implements [store.Backuper]. Sealed segments are linked, not copied,
// where the file system allows it. The active one is copied as far as it is known
// to be synced.
func (s *Store) Backup(ctx context.Context, dir string) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if _, err := s.fs.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: backup to %s: %w", dir, fs.ErrExist)
	}
	if err := makeDir(s.fs, dir); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: backup to %s: %w", dir, errors.Join(err, s.fs.RemoveAll(dir)))
		}
	}()
	s.trimMu.Lock() // nothing is freed meanwhile
	defer s.trimMu.Unlock()
	// What is sealed later is in the copy as far as it is now.
	s.committer.landing <- struct{}{}
	segments := slices.Clone(s.segments.list())
	successor := s.committer.successor
	sizes := make([]int64, len(segments))
	for i, g := range segments {
		sizes[i] = g.size.Load()
	}
	<-s.committer.landing

	// The mark comes first: without it, nobody may take the copy for a store.
	if err := s.copyFile(nil, 0, s.fs.PathJoin(dir, backupName)); err != nil {
		return err
	}
	for i, g := range segments {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if g.Lost != "" {
			continue
		}
		name := g.name()
		from, to := s.path(name), s.fs.PathJoin(dir, name)
		last := i == len(segments)-1
		if !last && s.fs.Link(from, to) == nil {
			continue
		}
		if err := s.copyPart(from, sizes[i], to); err != nil {
			return err
		}
	}
	name := successor.name()
	if err := s.copyPart(s.path(name), successor.Start, s.fs.PathJoin(dir, name)); err != nil {
		return err
	}
	return syncDir(s.fs, dir)
}

func (s *Store) copyPart(from string, size int64, to string) error {
	f, err := s.fs.Open(from)
	if err != nil {
		return err
	}
	return errors.Join(s.copyFile(f, size, to), f.Close())
}

// copyFile copies the first bytes of a file, durably.
func (s *Store) copyFile(from vfs.File, size int64, to string) error {
	f, err := s.create(to)
	if err != nil {
		return err
	}
	if from != nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.NewSectionReader(from, 0, size), make([]byte, 1<<20))
	}
	return errors.Join(err, f.Sync(), f.Close())
}
