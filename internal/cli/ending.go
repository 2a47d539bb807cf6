package cli

import (
	"io"
	"os"
	"time"
)

const (
	// patience is how long a command that is ending waits for an answer of the server.
	patience = 5 * time.Second

	// slowEnd is how long an end may take before the user is told what it waits for. A
	// server lets its connections finish for a second.
	slowEnd = 2 * time.Second
)

// ending waits until what a signal has asked to end is done. If that takes long, it
// prints what it waits for. A second signal ends the wait.
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
