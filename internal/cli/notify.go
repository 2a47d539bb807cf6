package cli

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// A supervisor is systemd, or another program that has started the server and wants to
// know its state: see sd_notify(3). The zero value is none.
type supervisor struct {
	socket string
	every  time.Duration // interval of signs of life; 0: none are wanted
}

// supervisorOf reads the supervisor from the environment and removes it there, so that
// programs started by the server don't speak for it.
func supervisorOf() (s supervisor) {
	s.socket = os.Getenv("NOTIFY_SOCKET")
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err == nil && usec > 1 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.every = time.Duration(usec) * time.Microsecond / 2
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	return s
}

// tell tells the supervisor the state of the server: READY=1, RELOADING=1, STOPPING=1. If
// it can't be reached, the message is lost.
func (s supervisor) tell(state string) {
	if s.socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"}) // a leading @ means an abstract address
	if err != nil {
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte(state))
	_ = c.Close()
}

// watch sends signs of life until ctx ends, each time that alive returns.
func (s supervisor) watch(ctx context.Context, alive func()) {
	if s.socket == "" || s.every == 0 {
		return
	}
	go func() {
		tick := time.NewTicker(s.every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				alive()
				s.tell("WATCHDOG=1")
			case <-ctx.Done():
				return
			}
		}
	}()
}
