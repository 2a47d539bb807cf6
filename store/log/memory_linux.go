package log

import "syscall"

// The file systems that are in memory, by the magic numbers that statfs(2) returns.
const (
	magicTmpfs = 0x01021994
	magicRamfs = 0x858458f6
)

// inMemory reports whether a directory's file system is in memory, where a sync does not
// protect against the loss of power.
func inMemory(dir string) bool {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return false
	}
	kind := uint32(s.Type) // 32 bits, with a sign on some machines
	return kind == magicTmpfs || kind == magicRamfs
}
