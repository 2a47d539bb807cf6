package filter

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The system or the clock ends whatever would exhaust the machine, and until then the
// worker's memory stays below its limit.
func TestBounds(t *testing.T) {
	const (
		memory = "the filter needs more than 128 MiB of memory"
		late   = "the filter takes longer than 2s"
	)
	var all sync.WaitGroup
	for _, expression := range []string{
		"[range(1e9)]",
		"reduce range(0; 1e12) as $i (0; . + 1)",
		"reduce range(0; 1e12) as $i ([]; . + [$i])",
		"def f: f; f",
		"def f: [f]; f",
		"def f: {a: f}; f",
		`"x" * 1e9`,
		`reduce range(64) as $i ("x"; . + .)`,
		`[limit(1e9; repeat(.))] | @text`,
		"[recurse([., .])]",
		`reduce range(100) as $i (.; [., .]) | tojson`,
		"[combinations(40)]?, ([range(30)] | [combinations(12)])",
		`"a" * 1e6 | [splits("")] | tojson | gsub("a"; "bbbb") | gsub("b"; "cccccccc") | gsub("c"; "dddddddd")`,
		"first(range(1e12) | select(. < 0))",
		"[.[]?] | .[200000000] = 1",
		"reduce range(10000000) as $i (.; [.]) | tojson",
		"until(false; .)",
		"limit(0; 1), isempty(range(1e12) | select(. < 0))",
	} {
		all.Go(func() {
			p := begin(t, expression)
			peak := make(chan int)
			ended := make(chan struct{})
			go func() { peak <- peakOf(p.cmd.Process.Pid, ended) }()
			began := time.Now()
			got := one(t, p, "json", `{"a":1}`)
			close(ended)
			most := <-peak
			t.Logf("%s: %s after %v, %d MiB", expression, got, time.Since(began).Round(time.Millisecond), most>>20)
			if got != "! "+memory && got != "! "+late && !strings.HasPrefix(got, "? ") {
				t.Errorf("%s: %.200s: %s", expression, got, p.said.String())
			}
			if most > Memory+64<<20 {
				t.Errorf("%s: %d MiB of memory", expression, most>>20)
			}
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("%s: ended after %v", expression, d)
			}
		})
	}
	all.Wait()
}

// The server's clock ends a worker that gets no processor time.
func TestStopped(t *testing.T) {
	p := begin(t, ".")
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for stat := ""; !strings.Contains(stat, ") T "); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		stat = string(text)
	}
	began := time.Now()
	if got := one(t, p, "json", "{}"); got != "! the filter takes longer than 2s" || time.Since(began) > 10*time.Second {
		t.Errorf("%s, after %v", got, time.Since(began))
	}
}
