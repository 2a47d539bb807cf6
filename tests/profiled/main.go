//go:build unix

// Command profiled is dictwire that profiles itself. When it ends, it leaves the profiles
// cpu, mutex (waits for locks), block (waits for channels, too), heap and goroutine in the
// directory PROFILES: see scripts/locks. At each SIGUSR1, it leaves there what its memory
// consists of, as memory: see scripts/idle.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"

	"github.com/dictwire/dictwire/internal/cli"
)

func main() {
	code, err := profiled(os.Getenv("PROFILES"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		code = 1
	}
	os.Exit(code)
}

// profiled runs dictwire and leaves its profiles in dir.
func profiled(dir string) (code int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	cpu, err := root.Create("cpu")
	if err != nil {
		return 0, err
	}
	go measure(root)
	runtime.SetMutexProfileFraction(10)
	runtime.SetBlockProfileRate(10_000) // nanoseconds
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return 0, err
	}
	code = cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	pprof.StopCPUProfile()
	err = cpu.Close()
	for _, name := range []string{"mutex", "block", "heap", "goroutine"} {
		err = errors.Join(err, write(root, name))
	}
	return code, errors.Join(err, root.Close())
}

// measure leaves the bytes of the live heap, the heap in use and the stacks, and the number
// of goroutines, as JSON, at each SIGUSR1, and the profile heap.
func measure(dir *os.Root) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	for range asked {
		for range 5 { // pools are empty after two, and stacks are halved by each
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		text := fmt.Appendf(nil, `{"live":%d,"heap":%d,"stacks":%d,"goroutines":%d}`,
			m.HeapAlloc, m.HeapInuse, m.StackInuse, runtime.NumGoroutine())
		if err := errors.Join(write(dir, "heap"), dir.WriteFile("memory.new", text, 0o600), dir.Rename("memory.new", "memory")); err != nil {
			fmt.Fprintln(os.Stderr, "profiled:", err)
		}
	}
}

func write(dir *os.Root, profile string) error {
	f, err := dir.Create(profile)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(profile).WriteTo(f, 0), f.Close())
}
