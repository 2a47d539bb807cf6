package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	progressAfter = time.Second            // nothing is shown of what is quick
	progressEvery = 200 * time.Millisecond // between two looks
	progressWidth = 24
)

// A progress shows on a terminal how far a file has been sent. The zero progress
// shows nothing.
type progress struct {
	w       io.Writer // nil: nothing is shown
	total   int64     // bytes of the file, 0 where that is not known
	bytes   int64
	records int64
	began   time.Time
	shown   time.Time // zero: never
}

// newProgress returns what shows how in is read, if stderr is a terminal.
func newProgress(stderr io.Writer, in io.Reader) *progress {
	p := &progress{began: time.Now()}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = stderr
	}
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			p.total = info.Size()
		}
	}
	return p
}

// reading counts what is read of r.
func (p *progress) reading(r io.Reader) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		p.bytes += int64(n)
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// sent counts a record.
func (p *progress) sent() {
	p.records++
	if p.w == nil || p.records%64 != 0 {
		return
	}
	now := time.Now()
	if now.Sub(p.began) < progressAfter || now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	fmt.Fprint(p.w, "\r"+p.line(now)+"\x1b[K")
}

// line is what is shown.
func (p *progress) line(now time.Time) string {
	rate := float64(p.records) / now.Sub(p.began).Seconds()
	line := fmt.Sprintf("%s sent, %.0f/s", count(p.records, "dictionary", "dictionaries"), rate)
	if p.total > 0 {
		done := min(float64(p.bytes)/float64(p.total), 1)
		n := int(done * progressWidth)
		line = fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", n), strings.Repeat("-", progressWidth-n), 100*done, line)
	}
	return line
}

// clear removes the line, so that something else can be written.
func (p *progress) clear() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// end leaves the last state on the terminal.
func (p *progress) end() {
	if !p.shown.IsZero() {
		fmt.Fprintln(p.w, "\r"+p.line(time.Now())+"\x1b[K")
	}
}
