package log

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A snapshot is the files of a store at one moment, taken without a lock and without
// changing anything, while another process may have the store open. It is a file system
// that holds that one directory.
//
// Files are kept open, so that they can be read even if they are removed. Of the segments
// it keeps only the oldest, which are removed first, and the newest two, since
// descriptors are scarce. It reads the slots first, then the states, then the segments
// from the newest to the oldest, so that nothing mentions a frame that is missing. Each
// file ends where it ended then; a segment that is still written to ends after its last
// complete frame.
type snapshot struct {
	vfs.FS

	dir      string
	names    []string           // of the directory
	states   []string           // of the states' directory; nil if there is none
	pinned   map[string]*pinned // by path: slots, states, segments
	segments []revision         // in order
}

// A pinned is an open file of a snapshot.
type pinned struct {
	file vfs.File
	size int64
	read io.ReaderAt // the first size bytes
}

// maxPinned is how many segments are kept open in addition to the newest two.
const maxPinned = 126

// A revision is a file of a segment.
type revision struct{ number, revision uint64 }

func (v revision) name() string { return fileName(v.number, v.revision, segmentSuffix) }

// snapshotTries is how often a snapshot is started again because the files changed
// meanwhile.
const snapshotTries = 100

var (
	errMoved = errors.New("its files change faster than they can be opened")

	// errRemoved says that another process has removed a segment. It wraps
	// store.ErrUnavailable.
	errRemoved = unavailable(errors.New("removed since the store was opened read-only: open it again"))

	// ErrReadOnly is wrapped by the error of any change to a store that was opened with
	// Options.ReadOnly. It wraps store.ErrUnavailable.
	ErrReadOnly = unavailable(errors.New("opened read-only"))
)

func takeSnapshot(fsys vfs.FS, dir string) (*snapshot, error) {
	var err error
	for range snapshotTries {
		sn := &snapshot{FS: fsys, dir: dir, pinned: map[string]*pinned{}}
		if err = sn.take(); err == nil {
			return sn, nil
		}
		if err = errors.Join(err, sn.Close()); !errors.Is(err, errMoved) {
			break
		}
	}
	return nil, err
}

func (sn *snapshot) take() (err error) {
	if err := sn.pinSlots(); err != nil {
		return err
	}
	if err := sn.pinStates(); err != nil {
		return err
	}
	if sn.names, err = sn.FS.List(sn.dir); err != nil {
		return err
	}
	for _, name := range sn.names {
		if n, rev, ok := parseName(name, segmentSuffix); ok {
			sn.segments = append(sn.segments, revision{n, rev})
		}
	}
	slices.SortFunc(sn.segments, func(a, b revision) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.revision, b.revision))
	})
	begun := false // the newest segment has frames
	for i, v := range slices.Backward(sn.segments) {
		if i >= maxPinned && i < sn.sealed() {
			continue
		}
		if err := sn.pin(sn.path(v.name())); err != nil {
			return err
		}
		if i < sn.sealed() {
			continue
		}
		has, err := sn.cut(v)
		if err != nil {
			return err
		}
		begun = begun || has && i == len(sn.segments)-1
	}
	return sn.check(begun)
}

// sealed returns how many of the segments are certainly no longer written to: all but the
// newest two.
func (sn *snapshot) sealed() int { return max(0, len(sn.segments)-2) }

func (sn *snapshot) path(name string) string { return sn.PathJoin(sn.dir, name) }

// pin opens a file and notes its length. If the file is gone, the snapshot must be
// started again.
func (sn *snapshot) pin(path string) error {
	f, err := sn.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (%w)", errMoved, err)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	sn.pinned[path] = &pinned{f, info.Size(), f}
	return nil
}

// pinSlots reads the slots, if there are any.
func (sn *snapshot) pinSlots() error {
	path := sn.path(slotsName)
	switch err := sn.pin(path); {
	case errors.Is(err, errMoved):
		return nil
	case err != nil:
		return err
	}
	p := sn.pinned[path]
	b, err := io.ReadAll(io.NewSectionReader(p.file, 0, p.size))
	p.size, p.read = int64(len(b)), bytes.NewReader(b)
	return err
}

// pinStates opens the files of the states.
func (sn *snapshot) pinStates() (err error) {
	sn.states, err = sn.listStates()
	for _, name := range sn.states {
		err = errors.Join(err, sn.pin(sn.PathJoin(sn.path(statesName), name)))
	}
	return err
}

// listStates returns the names of the states' files, or nil.
func (sn *snapshot) listStates() ([]string, error) {
	names, err := sn.FS.List(sn.path(statesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool { return name == lockName }), err
}

// cut finds the end of a segment's last complete frame: all frames before that one were
// complete earlier. If the header can't be read, the file keeps its length. It reports
// whether there are frames.
func (sn *snapshot) cut(v revision) (begun bool, err error) {
	p := sn.pinned[sn.path(v.name())]
	h, start, err := readHeader(p.file, true)
	if errors.Is(err, errHeader) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sc := &scanner{file: p.file, seed: seed(h.Number, h.Salt), at: start, limit: p.size, gaps: true, heads: true}
	end := start
	for sc.next() {
		if sc.damage == nil {
			end = sc.at
		}
	}
	p.size = end
	return end > start, sc.err
}

// check returns errMoved if the states have changed since they were opened: segments that
// they need may have been freed. If the newest segment has frames, its successor must
// exist, perhaps since after the directory was listed.
func (sn *snapshot) check(begun bool) error {
	names, err := sn.listStates()
	if err != nil {
		return err
	}
	if !slices.Equal(names, sn.states) {
		return errMoved
	}
	for _, name := range names {
		path := sn.PathJoin(sn.path(statesName), name)
		switch info, err := sn.FS.Stat(path); {
		case errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != sn.pinned[path].size:
			return errMoved
		case err != nil:
			return err
		}
	}
	if !begun {
		return nil
	}
	after, err := sn.FS.List(sn.dir)
	if err != nil {
		return err
	}
	for _, name := range after {
		if _, _, ok := parseName(name, segmentSuffix); ok && !slices.Contains(sn.names, name) {
			return errMoved
		}
	}
	return nil
}

// Close closes all files.
func (sn *snapshot) Close() error {
	var errs []error
	for _, p := range sn.pinned {
		errs = append(errs, p.file.Close())
	}
	clear(sn.pinned)
	return errors.Join(errs...)
}

// List implements [vfs.FS].
func (sn *snapshot) List(dir string) ([]string, error) {
	switch dir {
	case sn.dir:
		return slices.Clone(sn.names), nil
	case sn.path(statesName):
		return slices.Clone(sn.states), nil
	}
	return nil, missing("open", dir)
}

// Open implements [vfs.FS]. A file that is not pinned is a segment, an index, or not
// needed.
func (sn *snapshot) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	if p := sn.pinned[name]; p != nil {
		return &view{File: p.file, SectionReader: io.NewSectionReader(p.read, 0, p.size)}, nil
	}
	if sn.PathDir(name) != sn.dir {
		return nil, missing("open", name)
	}
	f, err := sn.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) && sn.isSegment(name) {
		return nil, fmt.Errorf("%s: %w", sn.PathBase(name), errRemoved)
	}
	return f, err
}

// isSegment reports whether a path is that of a segment of the snapshot.
func (sn *snapshot) isSegment(path string) bool {
	return slices.ContainsFunc(sn.segments, func(v revision) bool { return sn.path(v.name()) == path })
}

// OpenDir implements [vfs.FS].
func (sn *snapshot) OpenDir(dir string) (vfs.File, error) {
	if _, err := sn.List(dir); err != nil || dir != sn.dir && sn.states == nil {
		return nil, missing("open", dir)
	}
	return &view{SectionReader: io.NewSectionReader(nil, 0, 0)}, nil
}

// Stat implements [vfs.FS].
func (sn *snapshot) Stat(name string) (vfs.FileInfo, error) {
	f, err := sn.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	return info, errors.Join(err, f.Close())
}

func missing(op, name string) error { return &os.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// Lock implements [vfs.FS]. It locks nothing.
func (*snapshot) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// Changes fail.

func (*snapshot) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, ErrReadOnly }
func (*snapshot) Link(string, string) error                              { return ErrReadOnly }
func (*snapshot) Remove(string) error                                    { return ErrReadOnly }
func (*snapshot) RemoveAll(string) error                                 { return ErrReadOnly }
func (*snapshot) Rename(string, string) error                            { return ErrReadOnly }
func (*snapshot) MkdirAll(string, os.FileMode) error                     { return ErrReadOnly }

func (*snapshot) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, ErrReadOnly
}

func (*snapshot) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, ErrReadOnly
}

// A view is an open file of a snapshot, or its directory.
type view struct {
	vfs.File // shared by all views of the file; nil for a directory
	*io.SectionReader
}

func (v *view) Read(b []byte) (int, error)              { return v.SectionReader.Read(b) }
func (v *view) ReadAt(b []byte, off int64) (int, error) { return v.SectionReader.ReadAt(b, off) }
func (*view) Write([]byte) (int, error)                 { return 0, ErrReadOnly }
func (*view) WriteAt([]byte, int64) (int, error)        { return 0, ErrReadOnly }
func (*view) Preallocate(int64, int64) error            { return ErrReadOnly }
func (*view) Sync() error                               { return nil }
func (*view) SyncData() error                           { return nil }
func (*view) SyncTo(int64) (full bool, err error)       { return false, nil }
func (*view) Fd() uintptr                               { return vfs.InvalidFd }
func (*view) Close() error                              { return nil }

// Stat implements [vfs.File].
func (v *view) Stat() (vfs.FileInfo, error) {
	info, err := v.File.Stat()
	return viewInfo{info, v.Size()}, err
}

// A viewInfo reports the length that a file had.
type viewInfo struct {
	vfs.FileInfo

	size int64
}

func (i viewInfo) Size() int64 { return i.size }
