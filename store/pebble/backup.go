package pebble

import (
	"context"
	"errors"
	"fmt"
	"os"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/store"
)

// Backup implements [store.Backuper]. The copy shares files with the store where the
// file system can do that. It is made beside dir, and there when it is whole.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if f := s.failed(); f != nil {
		return f
	}
	fs := s.opts.FS
	if _, err := fs.Stat(dir); err == nil {
		return fmt.Errorf("store: backup to %s: %w", dir, os.ErrExist)
	}
	if err := s.backup(fs, dir, dir+".partial"); err != nil {
		return fmt.Errorf("store: backup to %s: %w", dir, errors.Join(err, fs.RemoveAll(dir+".partial")))
	}
	return nil
}

func (s *Store) backup(fs vfs.FS, dir, partial string) error {
	if err := makeDir(fs, fs.PathDir(dir)); err != nil {
		return err
	}
	if err := fs.RemoveAll(partial); err != nil { // of a backup that was not finished
		return err
	}
	if err := s.db.Checkpoint(partial, engine.WithFlushedWAL()); err != nil {
		return err
	}
	if err := markCopied(fs, partial); err != nil {
		return err
	}
	if err := fs.Rename(partial, dir); err != nil {
		return err
	}
	parent, err := fs.OpenDir(fs.PathDir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// markCopied notes in a copy that it is one.
func markCopied(fs vfs.FS, dir string) error {
	db, err := engine.Open(dir, &engine.Options{
		FS: fs, Comparer: comparer, FormatMajorVersion: engine.FormatWALSyncChunks, Logger: silent{},
		DisableAutomaticCompactions: true,
	})
	if err != nil {
		return err
	}
	return errors.Join(db.Set(keyCopied, nil, engine.Sync), db.Close())
}

// A silent logger says nothing: whatever it is told is returned as an error, too.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}

func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

var _ store.Backuper = (*Store)(nil)
