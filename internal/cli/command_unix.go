//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a command and its children into a process group of their own. The
// terminal's SIGINT does not reach it, and it is killed as a whole.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
