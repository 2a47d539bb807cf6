// Package crashfs is an in-memory file system for tests of what survives power failures at
// any operation, kills of the process, and faults.
//
// When power is lost, each sector and each directory change that was not synced is there or
// not, independently. A sector of which a part was durable keeps that part; one that was
// never durable may contain anything.
package crashfs

import (
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"time"
)

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
	cow   bool
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

// CrashAfter makes the file system crash after a number of operations from now on: power is
// lost, or the process is killed. hook is called at that moment, while nothing else
// happens. Work continues as if nothing had happened; After returns what is left.
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

// SetCopiesOnWrite makes f one that is said to copy on write. It changes nothing else.
func (f *FS) SetCopiesOnWrite() { f.cow = true }

// CopiesOnWrite reports whether f is said to copy on write.
func (f *FS) CopiesOnWrite() bool { return f.cow }

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
