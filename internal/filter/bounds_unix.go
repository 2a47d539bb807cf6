//go:build unix && !linux

package filter

import "syscall"

// bound sets the limits that the system supports.
func bound() error {
	return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
