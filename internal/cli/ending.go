package cli

import (
	"io"
	"os"
	"time"
)

const (
	// patience is how long a server may leave unanswered what a command that
	// ends waits for.
	patience = 5 * time.Second

	// slowEnd is how long a signal's effect may take until it is said what is
	// waited for. A server lets its connections finish for a second.
	slowEnd = 2 * time.Second
)

// ending waits for the end that a signal has begun. Where that takes long, it says
// what it waits for; a second signal does not wait.
func ending(done <-chan error, signals <-chan os.Signal, stderr io.Writer, what string) error {
	slow := time.NewTimer(slowEnd)
	defer slow.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-signals:
			return exitError(exitInterrupted)
		case <-slow.C:
			say(stderr, "waiting for %s; a second signal ends this at once", what)
		}
	}
}
