package crashfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

type info struct {
	name string
	size int64
	mod  time.Time
	dir  bool
}

func (i info) Name() string           { return i.name }
func (i info) Size() int64            { return i.size }
func (i info) ModTime() time.Time     { return i.mod }
func (i info) IsDir() bool            { return i.dir }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

func (i info) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o700
	}
	return 0o600
}

// A file is an open file or directory.
type file struct {
	fs    *FS
	name  string
	node  *node
	at    int64
	write bool
	isDir bool
}

func (o *file) Close() error { return nil }

func (o *file) Read(b []byte) (int, error) {
	n, err := o.ReadAt(b, o.at)
	o.at += int64(n)
	return n, err
}

func (o *file) ReadAt(b []byte, off int64) (int, error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if err := o.fs.do(Read, o.name); err != nil {
		return 0, pathError("read", o.name, err)
	}
	if off >= int64(len(o.node.seen)) {
		return 0, io.EOF
	}
	n := copy(b, o.node.seen[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (o *file) Write(b []byte) (int, error) {
	n, err := o.WriteAt(b, o.at)
	o.at += int64(n)
	return n, err
}

func (o *file) WriteAt(b []byte, off int64) (int, error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if !o.write {
		return 0, pathError("write", o.name, fs.ErrPermission)
	}
	if err := o.fs.do(Write, o.name); err != nil {
		half := len(b) / 2 // a short write
		o.node.put(b[:half], off)
		return half, pathError("write", o.name, err)
	}
	o.node.put(b, off)
	return len(b), nil
}

func (n *node) put(b []byte, off int64) {
	if end := off + int64(len(b)); end > int64(len(n.seen)) {
		n.seen = append(n.seen, make([]byte, end-int64(len(n.seen)))...)
	}
	copy(n.seen[off:], b)
	if n.dirty == nil {
		n.dirty = map[int64]bool{}
	}
	for s := off / sector; s*sector < off+int64(len(b)); s++ {
		n.dirty[s] = true
	}
}

// Truncate changes the size of the file.
func (o *file) Truncate(size int64) error {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if size < int64(len(o.node.seen)) {
		o.node.seen = o.node.seen[:size]
	}
	return nil
}

func (o *file) Preallocate(int64, int64) error {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	return o.fs.do(Write, o.name)
}

func (o *file) Stat() (vfs.FileInfo, error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	return info{name: path.Base(o.name), size: int64(len(o.node.seen)), mod: o.node.mod}, nil
}

func (o *file) Sync() error {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if o.isDir {
		if err := o.fs.do(SyncDir, o.name); err != nil {
			return pathError("sync", o.name, err)
		}
		o.fs.todo = slices.DeleteFunc(o.fs.todo, func(c change) bool {
			if c.dir != o.name {
				return false
			}
			c.apply(o.fs.safe)
			return true
		})
		return nil
	}
	if err := o.fs.do(Sync, o.name); err != nil {
		return pathError("sync", o.name, err)
	}
	n := o.node
	n.safe = append(n.safe[:min(len(n.safe), len(n.seen))], make([]byte, len(n.seen)-min(len(n.safe), len(n.seen)))...)
	for s := range n.dirty {
		if from := s * sector; from < int64(len(n.seen)) {
			copy(n.safe[from:min(from+sector, int64(len(n.seen)))], n.seen[from:])
		}
	}
	n.dirty = nil
	return nil
}

func (o *file) SyncData() error             { return o.Sync() }
func (o *file) SyncTo(int64) (bool, error)  { return true, o.Sync() }
func (o *file) Prefetch(int64, int64) error { return nil }
func (o *file) Fd() uintptr                 { return vfs.InvalidFd }
