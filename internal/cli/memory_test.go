package cli_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// unraced returns a dictwire without the race detector, which needs much memory: the one of
// the scripts, or another one beside it.
var unraced = sync.OnceValues(func() (string, error) {
	dictwire, err := exec.LookPath("dictwire")
	if info, ok := debug.ReadBuildInfo(); err != nil || ok && !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return dictwire, err
	}
	dictwire = filepath.Join(filepath.Dir(dictwire), "unraced")
	build := exec.Command("go", "build", "-o", dictwire, "github.com/dictwire/dictwire/cmd/dictwire")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dictwire, nil
})

// startServer starts `dictwire serve` on a free port, and returns the process and its
// address. It is shut down when the test ends, and must exit without an error.
func startServer(t *testing.T, args ...string) (*os.Process, string) {
	t.Helper()
	dictwire, err := unraced()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dictwire, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=", // the test is about the command's own limit
		"XDG_STATE_HOME="+t.TempDir())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	addr := ""
	for addr == "" && lines.Scan() {
		if where, ok := strings.CutPrefix(lines.Text(), "dictwire: listening on "); ok {
			addr = where
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Errorf("dictwire serve: %v", err)
		}
	})
	return cmd.Process, addr
}

// memory returns a value of /proc/PID/status, in bytes.
func memory(t *testing.T, p *os.Process, what string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(what + `:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no %s in %s", what, status)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func dialTCP(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// 200 clients each send half of a 1 MiB record and stall. Eight honest ones make progress
// meanwhile, and the server's memory stays within its budget.
func TestStallingSendersMemory(t *testing.T) {
	const mib = 1 << 20
	server, addr := startServer(t, "--print", "none", "--max-memory", "32MiB")
	rest := memory(t, server, "VmRSS")

	half := []byte(`{"text":"` + strings.Repeat("x", mib/2))
	var stalling sync.WaitGroup
	for range 200 {
		c := dialTCP(t, addr)
		stalling.Go(func() { _, _ = c.Write(half) }) // the server may cut it off
	}
	var honest sync.WaitGroup
	for client := range 8 {
		honest.Go(func() {
			c := dialTCP(t, addr)
			for n := range 1000 {
				if _, err := fmt.Fprintf(c, `{"client": %d, "number": %d}`+"\n", client, n); err != nil {
					t.Errorf("honest client: %v", err)
					return
				}
			}
			_ = c.CloseWrite()
			if answer, err := io.ReadAll(c); err != nil || len(answer) > 0 {
				t.Errorf("an honest client was told %q, %v", answer, err)
			}
		})
	}
	began := time.Now()
	honest.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the honest clients took %v", took)
	}
	stalling.Wait()
	peak := memory(t, server, "VmHWM")
	t.Logf("at rest %d KiB, peak %d KiB above", rest>>10, (peak-rest)>>10)
	if peak-rest > 48*mib {
		t.Errorf("peak is %d KiB above rest, want at most 48 MiB", (peak-rest)>>10)
	}
}

// Records that become much larger than they arrived, and readers that read nothing, stay
// within the budget plus one record of the largest size, and do not stop other clients.
func TestExpandingMemory(t *testing.T) {
	const (
		mib    = 1 << 20
		budget = 32 * mib
		// The allowance beyond the budget: a record being decoded, and memory that the
		// garbage collector and the store have not given back.
		beyond = 96 * mib
	)
	server, addr := startServer(t, "--print", "none", "--max-memory", "32MiB")
	rest := memory(t, server, "VmRSS")
	honest := func() {
		t.Helper()
		began := time.Now()
		var all sync.WaitGroup
		for client := range 4 {
			all.Go(func() {
				c := dialTCP(t, addr)
				for n := range 500 {
					_, _ = fmt.Fprintf(c, `{"client": %d, "number": %d}`+"\n", client, n)
				}
				_ = c.CloseWrite()
				if answer, err := io.ReadAll(c); err != nil || len(answer) > 0 {
					t.Errorf("an honest client was told %q, %v", answer, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the honest clients took %v", took)
		}
	}
	check := func(what string) {
		t.Helper()
		peak := memory(t, server, "VmHWM")
		t.Logf("%s: at rest %d KiB, peak %d KiB above", what, rest>>10, (peak-rest)>>10)
		if peak-rest > budget+beyond {
			t.Errorf("%s: the peak is %d MiB above rest, want at most %d MiB", what, (peak-rest)>>20, (budget+beyond)>>20)
		}
	}

	// Each pickle of 3 KiB is a dictionary with 990,000 items, and 1 MB of CBOR.
	bomb := "\x80\x04}\x8c\x01a](](" + strings.Repeat("N", 1000) + "e\x94" + strings.Repeat("h\x00", 989) + "es."
	var all sync.WaitGroup
	for range 30 {
		c := dialTCP(t, addr)
		all.Go(func() {
			_, _ = io.WriteString(c, strings.Repeat(bomb, 2))
			_ = c.CloseWrite()
			if answer, err := io.ReadAll(c); err != nil || len(answer) > 0 {
				t.Errorf("a sender of pickles was told %.200q, %v", answer, err)
			}
		})
	}
	honest()
	all.Wait()
	check("pickles")

	// Many readers request each of them in another format, and read nothing.
	for n := range 200 {
		c := dialTCP(t, addr)
		_ = c.SetReadBuffer(4096)
		format := []string{"", `,"format":"msgpack"`, `,"format":"python"`}[n%3]
		if _, err := io.WriteString(c, `{"dictwire":1,"subscribe":"default"`+format+"}\n"); err != nil {
			t.Fatal(err)
		}
	}
	honest()
	check("readers")
}
