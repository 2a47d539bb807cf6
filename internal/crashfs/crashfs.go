// Package crashfs is a file system in memory for tests of what survives: power
// that is lost at any operation, a process that is killed, and faults.
//
// What was not synced when power is lost is there or not, each sector and each
// change of a directory by itself. A sector of which a part was durable keeps
// that part; one that was never durable may hold anything.
package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const sector = 512

// An Op is what is done to a file system.
type Op string

// The operations that change something or make it durable.
const (
	Create  Op = "create"
	Write   Op = "write"
	Sync    Op = "sync"
	SyncDir Op = "sync a directory"
	Rename  Op = "rename"
	Remove  Op = "remove"
	Link    Op = "link"
	Read    Op = "read" // changes nothing, and is not counted; it can fail
)

// An FS is a [vfs.FS] in memory.
type FS struct {
	mu    sync.Mutex
	rng   *rand.Rand
	names map[string]*node // what is seen
	safe  map[string]*node // what is durable
	todo  []change         // of names, that are not durable
	dirs  map[string]bool
	locks map[string]bool

	left  int // operations until the crash; 0 for none
	power bool
	hook  func() // called at the crash
	after *FS
	count int
	fault func(op Op, name string) error
	free  uint64
}

// A change is one of a directory: name gets a node, or none; old loses it.
type change struct {
	dir, name, old string
	node           *node
}

// A node is a file.
type node struct {
	seen  []byte
	safe  []byte
	dirty map[int64]bool // sectors that differ, perhaps
	mod   time.Time
}

// New returns an empty file system whose crashes follow from a seed.
func New(seed uint64) *FS {
	return &FS{
		rng:   rand.New(rand.NewPCG(seed, 7)),
		names: map[string]*node{}, safe: map[string]*node{},
		dirs: map[string]bool{"/": true, ".": true}, locks: map[string]bool{}, free: 1 << 40,
	}
}

// CrashAfter lets the file system crash after a number of operations from now on:
// power is lost, or a process is killed. hook is called at that moment, while
// nothing else is done. Work goes on as if nothing had happened; After returns
// what is left.
func (f *FS) CrashAfter(ops int, power bool, hook func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.power, f.hook, f.after = max(1, ops), power, hook, nil
}

// Crashed reports whether the crash came.
func (f *FS) Crashed() bool { return f.After() != nil }

// After returns what a crash left, nil before it.
func (f *FS) After() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.after
}

// Crash returns what a crash now would leave: power is lost, or a process is
// killed. A nil rng is the file system's own.
func (f *FS) Crash(power bool, rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rng == nil {
		rng = f.rng
	}
	return f.crash(power, rng)
}

// Ops returns how many operations there were.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// SetFault lets operations fail for which fault returns an error. It must not use
// the file system.
func (f *FS) SetFault(fault func(op Op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// SetFree sets how many bytes are free.
func (f *FS) SetFree(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = n
}

// Damage changes a file, as it is seen and as it is durable.
func (f *FS) Damage(name string, change func([]byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[clean(name)]
	n.seen = change(n.seen)
	n.safe, n.dirty = slices.Clone(n.seen), nil
}

// Delete removes a file durably.
func (f *FS) Delete(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = clean(name)
	delete(f.names, name)
	delete(f.safe, name)
}

// Put makes a file durably.
func (f *FS) Put(name string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &node{seen: slices.Clone(b), safe: slices.Clone(b)}
	f.names[clean(name)], f.safe[clean(name)] = n, n
}

// Get returns what a file holds.
func (f *FS) Get(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.names[clean(name)]; n != nil {
		return slices.Clone(n.seen)
	}
	return nil
}

// Files returns the names of all files.
func (f *FS) Files() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.names {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func clean(name string) string { return path.Clean(name) }

// do counts an operation that is about to be done, and returns what fails it. f.mu
// is held.
func (f *FS) do(op Op, name string) error {
	if op != Read {
		f.count++
		if f.left > 0 {
			if f.left--; f.left == 0 {
				if f.hook != nil {
					f.hook()
				}
				f.after = f.crash(f.power, f.rng)
			}
		}
	}
	if f.fault != nil {
		return f.fault(op, name)
	}
	return nil
}

// crash returns what is left now. f.mu is held.
func (f *FS) crash(power bool, rng *rand.Rand) *FS {
	left := New(rng.Uint64())
	left.dirs = map[string]bool{}
	for d := range f.dirs {
		left.dirs[d] = true
	}
	left.free = f.free
	if !power {
		f.kill(left)
		return left
	}
	names := map[string]*node{}
	for name, n := range f.safe {
		names[name] = n
	}
	// How likely it is that something is there is the same for all, so that
	// nothing and all come, too.
	keep := rng.IntN(5) * 25
	for _, c := range f.todo {
		if rng.IntN(100) < keep {
			c.apply(names)
		}
	}
	keep = rng.IntN(5) * 25
	copied := map[*node]*node{}
	for _, name := range sorted(names) { // in one order, so that a seed says all
		n := names[name]
		if copied[n] == nil {
			b := n.crash(rng, keep)
			copied[n] = &node{seen: b, safe: slices.Clone(b), mod: n.mod}
		}
		left.names[name], left.safe[name] = copied[n], copied[n]
	}
	return left
}

// kill makes left what a killed process leaves: all is seen, and what was not
// synced still is not. f.mu is held.
func (f *FS) kill(left *FS) {
	copied := map[*node]*node{nil: nil}
	clone := func(n *node) *node {
		if _, ok := copied[n]; !ok {
			copied[n] = &node{seen: slices.Clone(n.seen), safe: slices.Clone(n.safe), dirty: maps.Clone(n.dirty), mod: n.mod}
		}
		return copied[n]
	}
	for name, n := range f.names {
		left.names[name] = clone(n)
	}
	for name, n := range f.safe {
		left.safe[name] = clone(n)
	}
	for _, c := range f.todo {
		c.node = clone(c.node)
		left.todo = append(left.todo, c)
	}
}

func sorted(m map[string]*node) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c change) apply(names map[string]*node) {
	if c.old != "" {
		delete(names, c.old)
	}
	if c.node != nil {
		names[c.name] = c.node
	} else if c.name != "" {
		delete(names, c.name)
	}
}

// crash returns what is left of a file when power is lost.
func (n *node) crash(rng *rand.Rand, keep int) []byte {
	size := len(n.safe)
	if len(n.seen) != size && rng.IntN(100) < max(keep, 50) {
		size = len(n.seen)
	}
	b := make([]byte, size)
	copy(b, n.safe)
	var dirty []int64
	for s := range n.dirty {
		dirty = append(dirty, s)
	}
	slices.Sort(dirty)
	for _, s := range dirty {
		from := s * sector
		if from >= int64(size) {
			continue
		}
		to := min(from+sector, int64(size))
		fresh := from >= int64(len(n.safe)) || allZero(n.safe[from:min(to, int64(len(n.safe)))])
		switch {
		case rng.IntN(100) < keep:
			clear(b[from:to])
			if from < int64(len(n.seen)) {
				copy(b[from:to], n.seen[from:])
			}
		case fresh && rng.IntN(8) == 0:
			for i := from; i < to; i++ {
				b[i] = byte(rng.Uint32())
			}
		}
	}
	return b
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (f *FS) change(c change) {
	c.dir = path.Dir(c.name)
	c.apply(f.names)
	f.todo = append(f.todo, c)
}

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
