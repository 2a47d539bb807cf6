package siege_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/tests/peer"
)

// ticks is how many units of /proc/pid/stat make a second.
const ticks = 100

// idle is the processor usage below which a server is at rest.
const idle = 0.1

// A watch measures a server's process.
type watch struct {
	pid   int
	since time.Time
	used  float64 // processor seconds, at since
}

func observe(t *testing.T, s *peer.Server) *watch {
	t.Helper()
	w := &watch{pid: s.Pid()}
	if _, err := w.seconds(); err != nil {
		t.Fatal(err)
	}
	return w
}

// seconds returns the processor time of the server.
func (w *watch) seconds() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(f[12], 64)
	return (user + system) / ticks, err
}

// begin starts a measurement of processor usage.
func (w *watch) begin() {
	w.since = time.Now()
	w.used, _ = w.seconds()
}

// processors returns the average number of processors used since begin.
func (w *watch) processors() float64 {
	s, err := w.seconds()
	if err != nil {
		return -1
	}
	return (s - w.used) / time.Since(w.since).Seconds()
}

// rest waits until the server is at rest.
func (w *watch) rest(t *testing.T) {
	t.Helper()
	begin := time.Now()
	for {
		w.begin()
		time.Sleep(time.Second)
		switch p := w.processors(); {
		case p < 0:
			t.Error("the server is gone")
			return
		case p < idle:
			t.Logf("processors: at rest after %v", time.Since(begin).Round(time.Second))
			return
		case time.Since(begin) > patience:
			t.Errorf("%v after the attack, the server still uses %.2f processors", patience, p)
			return
		}
	}
}
