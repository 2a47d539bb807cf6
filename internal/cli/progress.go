package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

const (
	progressAfter = time.Second            // nothing is shown of what is quick
	progressEvery = 200 * time.Millisecond // between two looks
	progressWidth = 24
)

// A progress shows on a terminal how far what is sent has come. It is the writer
// of messages, too, so that they and the bar do not mix.
type progress struct {
	w        io.Writer
	terminal bool // else no bar is shown
	tally    func() tally
	total    int64        // bytes of the file, 0 where that is not known
	bytes    atomic.Int64 // of it, that were read
	began    time.Time

	ending chan struct{}
	ended  chan struct{}

	mu    sync.Mutex
	drawn bool // guarded by mu: the bar stands on the terminal
	ever  bool // guarded by mu: it has
}

// newProgress returns what writes messages and, if stderr is a terminal, shows a
// bar.
func newProgress(stderr io.Writer, tally func() tally) *progress {
	p := &progress{w: stderr, tally: tally, began: time.Now(), ending: make(chan struct{}), ended: make(chan struct{})}
	if f, ok := stderr.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// reading counts what is read of a file.
func (p *progress) reading(in io.Reader) io.Reader {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			p.total = info.Size()
		}
	}
	return readerFunc(func(b []byte) (int, error) {
		n, err := in.Read(b)
		p.bytes.Add(int64(n))
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// run shows the bar until end.
func (p *progress) run() {
	defer close(p.ended)
	if !p.terminal {
		return
	}
	look := time.NewTicker(progressEvery)
	defer look.Stop()
	for {
		select {
		case now := <-look.C:
			if now.Sub(p.began) >= progressAfter {
				p.draw(now, "")
			}
		case <-p.ending:
			return
		}
	}
}

// end leaves the last state on the terminal.
func (p *progress) end() {
	close(p.ending)
	<-p.ended
	p.mu.Lock()
	ever := p.ever
	p.mu.Unlock()
	if ever {
		p.draw(time.Now(), "\n")
	}
}

func (p *progress) draw(now time.Time, end string) {
	line := p.line(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drawn, p.ever = end == "", true
	fmt.Fprint(p.w, "\r"+line+clearLine+end)
}

// clearLine removes what stands right of the cursor.
const clearLine = "\x1b[K"

// Write writes a message in the place of the bar.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		p.drawn = false
		fmt.Fprint(p.w, "\r"+clearLine)
	}
	return p.w.Write(b)
}

// line is what is shown.
func (p *progress) line(now time.Time) string {
	t := p.tally()
	rate := float64(t.stored) / now.Sub(p.began).Seconds()
	line := fmt.Sprintf("%s sent, %d stored, %.0f/s", count(t.sent, "dictionary", "dictionaries"), t.stored, rate)
	var done float64
	switch {
	case p.total > 0:
		done = min(float64(p.bytes.Load())/float64(p.total), 1)
	case t.all > 0:
		done = float64(t.sent-t.left) / float64(t.all)
	default:
		return line
	}
	n := int(done * progressWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", n), strings.Repeat("-", progressWidth-n), 100*done, line)
}
