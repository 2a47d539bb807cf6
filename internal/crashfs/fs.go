package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func pathError(op, name string, err error) error {
	return &os.PathError{Op: op, Path: name, Err: err}
}

// Create implements [vfs.FS].
func (f *FS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	if !f.dirs[path.Dir(name)] {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	if err := f.do(Create, name); err != nil {
		return nil, pathError("open", name, err)
	}
	n := &node{dirty: map[int64]bool{}, mod: time.Unix(1, 0)}
	f.change(change{name: name, node: n})
	return &file{fs: f, name: name, node: n, write: true}, nil
}

// Link implements [vfs.FS].
func (f *FS) Link(old, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, name = clean(old), clean(name)
	n := f.names[old]
	if n == nil {
		return pathError("link", old, fs.ErrNotExist)
	}
	if err := f.do(Link, name); err != nil {
		return pathError("link", name, err)
	}
	f.change(change{name: name, node: n})
	return nil
}

// Open implements [vfs.FS].
func (f *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	n := f.names[name]
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	if f.fault != nil {
		if err := f.fault(Read, name); err != nil {
			return nil, pathError("open", name, err)
		}
	}
	o := &file{fs: f, name: name, node: n}
	for _, opt := range opts {
		opt.Apply(o)
	}
	return o, nil
}

// OpenReadWrite implements [vfs.FS].
func (f *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	f.mu.Lock()
	n := f.names[clean(name)]
	f.mu.Unlock()
	if n == nil {
		return f.Create(name, c)
	}
	return &file{fs: f, name: clean(name), node: n, write: true}, nil
}

// OpenDir implements [vfs.FS].
func (f *FS) OpenDir(name string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dirs[clean(name)] {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &file{fs: f, name: clean(name), isDir: true}, nil
}

// Remove implements [vfs.FS].
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(clean(name))
}

func (f *FS) remove(name string) error {
	if f.dirs[name] {
		delete(f.dirs, name)
		return nil
	}
	if f.names[name] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if err := f.do(Remove, name); err != nil {
		return pathError("remove", name, err)
	}
	f.change(change{name: name})
	return nil
}

// RemoveAll implements [vfs.FS].
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	for _, other := range sorted(f.names) {
		if other == name || strings.HasPrefix(other, name+"/") {
			if err := f.remove(other); err != nil {
				return err
			}
		}
	}
	for d := range f.dirs {
		if d == name || strings.HasPrefix(d, name+"/") {
			delete(f.dirs, d)
		}
	}
	return nil
}

// Rename implements [vfs.FS]. Directories have another name durably at once.
func (f *FS) Rename(old, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, name = clean(old), clean(name)
	if f.dirs[old] {
		return f.renameDir(old, name)
	}
	n := f.names[old]
	if n == nil {
		return pathError("rename", old, fs.ErrNotExist)
	}
	if err := f.do(Rename, name); err != nil {
		return pathError("rename", name, err)
	}
	f.change(change{name: name, old: old, node: n})
	return nil
}

func (f *FS) renameDir(old, name string) error {
	if err := f.do(Rename, name); err != nil {
		return pathError("rename", name, err)
	}
	moved := func(p string) string {
		if rest, ok := strings.CutPrefix(p, old); ok && (rest == "" || rest[0] == '/') {
			return name + rest
		}
		return p
	}
	for _, names := range []map[string]*node{f.names, f.safe} {
		for _, p := range sorted(names) {
			if to := moved(p); to != p {
				names[to] = names[p]
				delete(names, p)
			}
		}
	}
	for i := range f.todo {
		c := &f.todo[i]
		c.dir, c.name, c.old = moved(c.dir), moved(c.name), moved(c.old)
	}
	for d := range maps.Clone(f.dirs) {
		if to := moved(d); to != d {
			delete(f.dirs, d)
			f.dirs[to] = true
		}
	}
	return nil
}

// ReuseForWrite implements [vfs.FS].
func (f *FS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Rename(old, name); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(name, c)
}

// MkdirAll implements [vfs.FS]. Directories are durable at once.
func (f *FS) MkdirAll(dir string, _ os.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for dir = clean(dir); !f.dirs[dir]; dir = path.Dir(dir) {
		f.dirs[dir] = true
	}
	return nil
}

// Lock implements [vfs.FS].
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	if f.locks[name] {
		return nil, errors.New("lock held by current process")
	}
	f.locks[name] = true
	return unlocker{f, name}, nil
}

type unlocker struct {
	f    *FS
	name string
}

func (u unlocker) Close() error {
	u.f.mu.Lock()
	defer u.f.mu.Unlock()
	delete(u.f.locks, u.name)
	return nil
}

// List implements [vfs.FS].
func (f *FS) List(dir string) (names []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir = clean(dir)
	if !f.dirs[dir] {
		return nil, pathError("open", dir, fs.ErrNotExist)
	}
	for name := range f.names {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	for d := range f.dirs {
		if path.Dir(d) == dir && d != dir {
			names = append(names, path.Base(d))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Stat implements [vfs.FS].
func (f *FS) Stat(name string) (vfs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	if f.dirs[name] {
		return info{name: path.Base(name), dir: true}, nil
	}
	n := f.names[name]
	if n == nil {
		return nil, pathError("stat", name, fs.ErrNotExist)
	}
	return info{name: path.Base(name), size: int64(len(n.seen)), mod: n.mod}, nil
}

// PathBase implements [vfs.FS].
func (f *FS) PathBase(p string) string { return path.Base(p) }

// PathJoin implements [vfs.FS].
func (f *FS) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir implements [vfs.FS].
func (f *FS) PathDir(p string) string { return path.Dir(p) }

// GetDiskUsage implements [vfs.FS].
func (f *FS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: f.free, TotalBytes: 2 << 40, UsedBytes: 2<<40 - f.free}, nil
}

// Unwrap implements [vfs.FS].
func (f *FS) Unwrap() vfs.FS { return nil }
