//go:build !linux

package log

// inMemory reports whether a directory's file system is known to be in memory.
func inMemory(string) bool { return false }

// copiesOnWrite reports whether a directory's file system is known to never write in
// place.
func copiesOnWrite(string) bool { return false }
