//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a command and all that it starts a group of their own, which a
// terminal's SIGINT is not for, and which is killed as one.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
