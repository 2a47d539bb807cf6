//go:build linux || darwin

package filter

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// boundTime ends the process when the system says that it has spent its time, for which
// the runtime alone would not end it.
func boundTime() {
	spent := make(chan os.Signal, 1)
	signal.Notify(spent, syscall.SIGXCPU)
	go func() { // for the life of the process
		<-spent
		panic("SIGXCPU")
	}()
}

// renewTime has the system say (SIGXCPU) when the process has spent more time of the
// processor than this from now on: its server does not end it, or is gone.
func renewTime(d time.Duration) {
	var used syscall.Rusage
	var limit syscall.Rlimit
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil || syscall.Getrlimit(syscall.RLIMIT_CPU, &limit) != nil {
		return // the server's clock bounds it, too
	}
	spent := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	limit.Cur = min(limit.Max, uint64((spent+d)/time.Second)+1)
	_ = syscall.Setrlimit(syscall.RLIMIT_CPU, &limit)
}
