package brokertest

import (
	"os/exec"
	"syscall"
)

// dieWithUs makes a process end when this one does, however it ends.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
