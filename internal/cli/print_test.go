package cli

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dictwire/dictwire/dict"
)

// A stalled is an output that takes nothing until it is told to.
type stalled struct {
	release chan struct{}
	writes  [][]byte
	fail    error // of each write but the first
}

func (w *stalled) Write(p []byte) (int, error) {
	<-w.release
	if w.fail != nil && len(w.writes) > 0 {
		return 3, w.fail
	}
	w.writes = append(w.writes, bytes.Clone(p))
	return len(p), nil
}

// Who prints to an output that stalls is held up once a little is pending, and
// goes on with it.
func TestPrinterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalled{release: make(chan struct{})}
		p := newPrinter(out, new(formatFlags).appenders()["json"])
		d := dict.Of("text", strings.Repeat("x", 10_000))
		printed := 0 // read when all are blocked
		const all = 200
		var printing sync.WaitGroup
		printing.Go(func() {
			for range all {
				if err := p.print(d); err != nil {
					t.Error(err)
				}
				printed++
			}
		})
		synctest.Wait()
		if got := printed * 10_000; got < maxPending || got > 2*maxPending {
			t.Errorf("%d bytes were printed ahead of the output, want about %d", got, maxPending)
		}
		close(out.release)
		printing.Wait()
		if err := p.close(); err != nil {
			t.Error(err)
		}
		if got := bytes.Count(bytes.Join(out.writes, nil), []byte("\n")); got != all {
			t.Errorf("%d of %d were written", got, all)
		}
	})
}

// What an output that failed did not take is counted, and nobody waits for it.
func TestPrinterCountsLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalled{release: make(chan struct{}), fail: errors.New("no more paper")}
		p := newPrinter(out, new(formatFlags).appenders()["json"])
		if err := p.print(dict.Of("first", 1)); err != nil { // is written
			t.Error(err)
		}
		synctest.Wait()
		for range 4 { // wait for the next write, which fails
			if err := p.print(dict.Of("a", 1)); err != nil {
				t.Error(err)
			}
		}
		close(out.release)
		<-p.failed
		if err := p.print(dict.Of("late", 1)); !errors.Is(err, out.fail) {
			t.Errorf("print = %v", err)
		}
		want := "standard output: no more paper; 5 dictionaries were received, but not printed"
		if err := p.close(); err == nil || err.Error() != want {
			t.Errorf("close = %v, want %s", err, want)
		}
	})
}
