package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/internal/testlog"
)

// page returns a page of the documentation.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// guideHandler is the handler from the guide.
func guideHandler(t *testing.T) string {
	t.Helper()
	_, script, _ := strings.Cut(page(t, "guide/handler.md"), "```python\n")
	script, _, _ = strings.Cut(script, "```")
	file := t.TempDir() + "/check.py"
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return "python3 " + file
}

// coServer is a server whose handler is a command.
func coServer(t *testing.T, command string, n int, limit time.Duration) (s *dictwiretest.Server, log *testlog.Buffer) {
	t.Helper()
	log = new(testlog.Buffer)
	h := startHandler(t.Context(), command, n, limit, log, log.Logger())
	t.Cleanup(h.Close)
	return dictwiretest.NewServer(t, h), log
}

func TestGuideHandler(t *testing.T) {
	s, _ := coServer(t, guideHandler(t), 2, handlerTime)
	c := s.NewClient(dictwire.Dialer{})
	reply, err := c.Send(t.Context(), "quotes", dict.Of("price", 10))
	if err != nil || reply.String() != "{'total': 11.9}" {
		t.Errorf("replied %v, %v", reply, err)
	}
	_, err = c.Send(t.Context(), "orders", dict.Of("name", "tea"))
	var rejected *dictwire.RejectedError
	if !errors.As(err, &rejected) || rejected.Reason != "no_price" || !strings.Contains(rejected.Text, "a price is wanted") {
		t.Errorf("rejected with %v", err)
	}
	if got := s.Records("quotes"); len(got) != 1 {
		t.Errorf("quotes: %v", got)
	}
	if got := s.Records("_rejected"); len(got) != 1 {
		t.Errorf("_rejected: %v", got)
	}
}

// A process that writes something else, or ends, is restarted, and gets its records again:
// no answer is assigned to the wrong record.
func TestHandlerFaults(t *testing.T) {
	flag := t.TempDir() + "/flag"
	script := t.TempDir() + "/co.py"
	if err := os.WriteFile(script, []byte(`
import json, os, sys
flag, fault = sys.argv[1:]
first = not os.path.exists(flag)
open(flag, 'w').close()
held = []
for line in sys.stdin:
    ask = json.loads(line)
    n = ask['record']['n']
    if first and n == 7:
        if fault == 'exit':
            sys.exit(3)
        print('debug: here I am' if fault == 'print' else json.dumps({'id': ask['id'] + 1000, 'reply': {'n': -1}}), flush=True)
        continue
    held.append({'id': ask['id'], 'reply': {'n': n, 'topic': ask['topic'], 'principal': ask['principal']}})
    while held:
        print(json.dumps(held.pop()), flush=True)
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []string{"print", "shift", "exit"} {
		t.Run(fault, func(t *testing.T) {
			s, log := coServer(t, fmt.Sprintf("python3 %s %s.%s %s", script, flag, fault, fault), 1, handlerTime)
			var all sync.WaitGroup
			for i := range 4 {
				c := s.NewClient(dictwire.Dialer{})
				all.Go(func() {
					for n := 5 * i; n < 5*i+5; n++ {
						reply, err := c.Send(t.Context(), fmt.Sprintf("t%d", i), dict.Of("n", n))
						if want := fmt.Sprintf("{'n': %d, 'topic': 't%d', 'principal': 'anonymous'}", n, i); err != nil || reply.String() != want {
							t.Errorf("replied %v, %v, want %s", reply, err, want)
						}
					}
				})
			}
			all.Wait()
			if got := len(s.Records("_rejected")); got != 0 {
				t.Errorf("%d rejected", got)
			}
			if want := "the handler ended, and is started again"; !strings.Contains(log.String(), want) {
				t.Errorf("logged %s, want %s", log.String(), want)
			}
		})
	}
}

// answering is a handler whose replies identify its process. It hangs on the first record.
func answering(t *testing.T, hangs bool) string {
	t.Helper()
	once := t.TempDir() + "/once"
	if !hangs {
		if err := os.Mkdir(once, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return `while read -r line; do
		mkdir '` + once + `' 2>/dev/null && continue
		id=${line#*\"id\":}
		echo "{\"id\":${id%%,*},\"reply\":{\"process\":$$}}"
	done`
}

// A process that is silent for too long is killed, and another one gets its record.
func TestHandlerHangs(t *testing.T) {
	const limit = time.Second
	s, log := coServer(t, answering(t, true), 1, limit)
	began := time.Now()
	reply, err := s.NewClient(dictwire.Dialer{}).Send(t.Context(), "t", dict.Of("n", 1))
	if err != nil || reply.Len() != 1 {
		t.Errorf("replied %v, %v", reply, err)
	}
	if took := time.Since(began); took < limit {
		t.Errorf("after %v", took)
	}
	if want := "the handler ended, and is started again"; !strings.Contains(log.String(), want) {
		t.Errorf("logged %s, want %s", log.String(), want)
	}
	if stored, rejected := len(s.Records("t")), len(s.Records("_rejected")); stored != 1 || rejected != 0 {
		t.Errorf("%d stored, %d rejected", stored, rejected)
	}
}

// All processes get their share.
func TestHandlers(t *testing.T) {
	const n, each = 4, 3
	s, _ := coServer(t, answering(t, false), n, handlerTime)
	c := s.NewClient(dictwire.Dialer{})
	shares := map[string]int{}
	for i := range n * each {
		reply, err := c.Send(t.Context(), "t", dict.Of("n", i))
		if err != nil {
			t.Fatal(err)
		}
		shares[reply.String()]++
	}
	if len(shares) != n {
		t.Errorf("%v, want %d processes", shares, n)
	}
	for process, got := range shares {
		if got != each {
			t.Errorf("%s: %d records, want %d", process, got, each)
		}
	}
}
