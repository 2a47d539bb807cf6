package crashfs

import (
	"maps"
	"math/rand/v2"
	"path"
	"slices"
)

const sector = 512

// A change is one of a directory: name gets a node, or none; old loses it.
type change struct {
	dir, name, old string
	node           *node
}

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
	left.free, left.cow = f.free, f.cow
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
