package log

import "syscall"

// Some file systems, by the magic numbers that statfs(2) returns.
const (
	magicTmpfs = 0x01021994
	magicRamfs = 0x858458f6

	magicBtrfs    = 0x9123683e
	magicZFS      = 0x2fc12fc1
	magicBcachefs = 0xca451a4e
	magicNilfs    = 0x3434
)

// inMemory reports whether a directory's file system is in memory, where a sync does not
// protect against the loss of power.
func inMemory(dir string) bool {
	kind := fileSystem(dir)
	return kind == magicTmpfs || kind == magicRamfs
}

// copiesOnWrite reports whether a directory's file system never writes in place.
func copiesOnWrite(dir string) bool {
	switch fileSystem(dir) {
	case magicBtrfs, magicZFS, magicBcachefs, magicNilfs:
		return true
	}
	return false
}

// fileSystem returns the magic number of a directory's file system, or zero.
func fileSystem(dir string) uint32 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0
	}
	return uint32(s.Type) // 32 bits, with a sign on some machines
}
