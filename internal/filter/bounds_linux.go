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
	niceness = 10 // relative to the server's priority
	files    = 8

	// slack is address space for the runtime: for its heap, which it reserves 64 MiB at a
	// time, and for thread stacks, which glibc makes 8 MiB each.
	slack = 48 << 20
)

// confine permanently limits the resources of this process: memory, files, core dumps. It
// takes two limits to bound memory. RLIMIT_DATA counts what the runtime maps within its
// reservations, but Linux counts that only at the next mapping, so one large value could
// exceed it. RLIMIT_AS counts the reservations.
func confine() error {
	size, data, err := mapped()
	if err != nil {
		return err
	}
	// Prefer this process to others when the system runs out of memory or processors. A
	// sandbox may forbid both; neither is a limit.
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

// mapped returns the size of the address space, and how much of it counts towards
// RLIMIT_DATA.
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
