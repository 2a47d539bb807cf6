package filter

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	niceness = 10 // beside the server's
	files    = 8

	// slack is addresses that the runtime wants to know of its heap, which it reserves 64 MiB
	// at a time, and for the stacks of threads, of 8 MiB where glibc makes them.
	slack = 48 << 20
)

// confine lets the system bound this process for good: memory, files, dumps. Two limits
// bound memory. RLIMIT_DATA counts what the runtime maps of the addresses that it has
// reserved; but Linux does not count what is mapped over a reservation until the next
// mapping, so that one large value would pass. RLIMIT_AS counts the reservations.
func confine() error {
	size, data, err := mapped()
	if err != nil {
		return err
	}
	// Where the system wants memory back, it is to end this process; and others go first.
	// Neither bounds anything, and a sandbox may forbid both.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness)
		}
	}
	for _, l := range []struct {
		what int
		most uint64
	}{
		{syscall.RLIMIT_CORE, 0},
		{syscall.RLIMIT_FSIZE, 0},
		{syscall.RLIMIT_NOFILE, files},
		{syscall.RLIMIT_DATA, data + Memory},
		{syscall.RLIMIT_AS, size + Memory + slack},
	} {
		if err := syscall.Setrlimit(l.what, &syscall.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	return nil
}

// mapped returns how many bytes of addresses the process has, and how many of them count
// for RLIMIT_DATA.
func mapped() (size, data uint64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib uint64
		if _, err := fmt.Sscanf(line, "VmSize: %d kB", &kib); err == nil {
			size = kib << 10
		} else if _, err := fmt.Sscanf(line, "VmData: %d kB", &kib); err == nil {
			data = kib << 10
		}
	}
	if size == 0 || data == 0 {
		return 0, 0, errors.New("/proc/self/status does not say how large it is")
	}
	return size, data, nil
}
