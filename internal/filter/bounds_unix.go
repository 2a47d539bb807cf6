//go:build unix && !linux

package filter

import "syscall"

// bound lets the system bound what it can.
func bound() error {
	return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
