//go:build linux || darwin

package filter

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// boundTime ends the process on SIGXCPU, which the Go runtime alone would not do.
func boundTime() {
	spent := make(chan os.Signal, 1)
	signal.Notify(spent, syscall.SIGXCPU)
	go func() { // for the life of the process
		<-spent
		panic("SIGXCPU")
	}()
}

// renewTime asks the system for a SIGXCPU after another d of processor time, in case the
// server does not end the process, or is gone.
func renewTime(d time.Duration) {
	var used syscall.Rusage
	var limit syscall.Rlimit
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil || syscall.Getrlimit(syscall.RLIMIT_CPU, &limit) != nil {
		return // the server's clock is a limit, too
	}
	spent := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	limit.Cur = min(limit.Max, uint64((spent+d)/time.Second)+1)
	_ = syscall.Setrlimit(syscall.RLIMIT_CPU, &limit)
}
