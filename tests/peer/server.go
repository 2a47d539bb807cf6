// Package peer runs real servers, and talks to them with a client that was written from
// docs/protocol.md alone. It shares no code with the project's client, so that no error can
// be in both.
package peer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dictwire/dictwire/internal/testlog"
)

// Build builds the real binary and returns its path.
func Build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "dictwire")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, "../../cmd/dictwire")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// A Server is a process of dictwire that serves a store.
type Server struct {
	Addr string // listening address

	cmd       *exec.Cmd
	listening chan string // receives the listening address
	log       testlog.Buffer
	logged    chan struct{} // closed at the end of its output
}

// Serve starts a server with flags, and waits until it listens.
func Serve(t *testing.T, bin string, flags ...string) *Server {
	t.Helper()
	s := Launch(t, bin, flags...)
	select {
	case s.Addr = <-s.listening:
	case <-s.logged:
		_ = s.cmd.Wait()
		t.Fatalf("the server ended: %v\n%s", s.cmd.ProcessState, &s.log)
	case <-time.After(time.Minute):
		s.Kill(t)
		t.Fatalf("the server does not listen\n%s", &s.log)
	}
	return s
}

// Launch starts a server.
func Launch(t *testing.T, bin string, flags ...string) *Server {
	t.Helper()
	s := &Server{
		cmd:       exec.Command(bin, append([]string{"serve", "--listen", "127.0.0.1:0", "--print", "none"}, flags...)...),
		listening: make(chan string, 1),
		logged:    make(chan struct{}),
	}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.logged)
		r := bufio.NewReader(io.TeeReader(stderr, &s.log))
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if addr, ok := strings.CutPrefix(line, "dictwire: listening on "); ok {
				s.listening <- strings.TrimSpace(addr)
			}
		}
	}()
	return s
}

// Kill ends the server like kill -9. It fails the test if the server had already ended.
func (s *Server) Kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Errorf("the server has ended before it was killed: %v", err)
	}
	<-s.logged
	var exit *exec.ExitError
	if err := s.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Errorf("the server ended by itself: %v", err)
	}
	if t.Failed() {
		t.Logf("the server said\n%s", &s.log)
	}
}

// Memory returns a figure of /proc/PID/status in bytes: VmRSS for the current memory, VmHWM
// for the peak.
func (s *Server) Memory(t *testing.T, what string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), what+":")
	var kib int64
	if _, err := fmt.Sscan(text, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// Pid returns the server's process ID.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Stop ends the server with SIGTERM. It fails the test unless the server ends without an
// error within a minute.
func (s *Server) Stop(t *testing.T) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(time.Minute, func() { s.cmd.Process.Kill() })
	defer late.Stop()
	<-s.logged
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the server ended: %v", err)
	}
}

// Log returns what the server has logged.
func (s *Server) Log() string { return s.log.String() }
