package dictwire_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/log"
)

// An idle session, which writes or reads, has one goroutine with a small stack, and no
// buffer. The measurement includes the client's end of the connection.
func TestIdleSession(t *testing.T) {
	const conns, most = 500, 16 << 10 // the race detector's included
	s, err := log.Open(t.Context(), t.TempDir(), &log.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := &dictwire.Server{Store: s, MaxHostConns: -1}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
	defer func() { _ = srv.Close(); <-done }()

	open := func(hello string, answers int) net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, hello)
		for r := bufio.NewReaderSize(c, 256); answers > 0; answers-- {
			if line, err := r.ReadString('\n'); err != nil || strings.Contains(line, "code") {
				t.Fatalf("%s: %v", line, err)
			}
		}
		return c
	}
	inUse := func() int64 {
		var m runtime.MemStats
		for range 4 { // each may halve the stacks, the second one empties the pools
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse + m.HeapAlloc)
	}
	var readers []net.Conn
	for _, kind := range []string{"writes", "reads"} {
		before, routines := inUse(), runtime.NumGoroutine()
		for i := range conns {
			if kind == "writes" {
				c := open(fmt.Sprintf(`{"dictwire":1,"topic":"a","producer":"p%d"}`+"\n", i), 2)
				if _, err := io.WriteString(c, `{"a":1}`); err != nil {
					t.Fatal(err)
				}
				continue
			}
			readers = append(readers, open(fmt.Sprintf(`{"dictwire":1,"subscribe":"b","follow":true,"from":"latest","cursor":"c%d"}`+"\n", i), 2))
		}
		// A connection gives its buffer back after a second or two, and a giver rests after five.
		each, goroutines := int64(most+1), 0
		for end := time.Now().Add(20 * time.Second); (each > most || goroutines > conns) && time.Now().Before(end); {
			time.Sleep(100 * time.Millisecond)
			each, goroutines = (inUse()-before)/conns, runtime.NumGoroutine()-routines
		}
		t.Logf("%s: %d bytes and %.2f goroutines each", kind, each, float64(goroutines)/conns)
		if each > most {
			t.Errorf("an idle session that %s costs %d bytes, want at most %d", kind, each, most)
		}
		if goroutines > conns {
			t.Errorf("%d idle sessions of which each %s have %d goroutines", conns, kind, goroutines)
		}
	}
	w := open(`{"dictwire":1,"topic":"b"}`+"\n"+`{"b":1}`, 2)
	defer w.Close()
	for _, c := range readers {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		var got strings.Builder
		for r := bufio.NewReader(c); !strings.Contains(got.String(), `{"b":1}`); {
			line, err := r.ReadString('}')
			if got.WriteString(line); err != nil {
				t.Fatalf("a reader that has been idle got %s: %v", &got, err)
			}
		}
	}
}
