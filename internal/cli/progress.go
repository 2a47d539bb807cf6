package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/internal/terminal"
)

const (
	progressAfter = time.Second            // shorter work shows no bar
	progressEvery = 200 * time.Millisecond // interval of updates
	progressWidth = 24                     // of the bar
)

// A progress shows a bar on a terminal: how far long work has come, its speed, and the
// time that is left. Messages are written through it, so that they and the bar do not
// mix.
type progress struct {
	w        io.Writer
	terminal bool         // otherwise there is no bar
	state    func() state // returns the progress so far
	began    time.Time

	ending chan struct{}
	ended  chan struct{}

	mu    sync.Mutex
	drawn bool // the bar is on the terminal; guarded by mu
	ever  bool // it has been drawn before; guarded by mu
}

// A state is the progress of work.
type state struct {
	text  string  // what has been done
	count float64 // the same as a number
	unit  string  // of count, as written before "/s"
	share float64 // of the total, from 0 to 1; negative if unknown
}

// newProgress returns a progress for messages. If stderr is a terminal, it shows a bar
// from run to end.
func newProgress(stderr io.Writer, state func() state) *progress {
	return &progress{
		w: stderr, terminal: terminal.Is(stderr) && !terminal.Dumb(), state: state, began: time.Now(),
		ending: make(chan struct{}), ended: make(chan struct{}),
	}
}

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

// end leaves the final state on the terminal.
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
	line := p.state().line(now.Sub(p.began), terminal.WidthOf(p.w)-1) // a full line would wrap
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drawn, p.ever = end == "", true
	fmt.Fprint(p.w, "\r"+line+clearLine+end)
}

// clearLine clears the line to the right of the cursor.
const clearLine = "\x1b[K"

// Write writes a message above the bar.
func (p *progress) Write(b []byte) (int, error) { return p.over(p.w).Write(b) }

// over returns a writer to w, which is the same terminal, that writes above the bar.
func (p *progress) over(w io.Writer) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.drawn {
			p.drawn = false
			fmt.Fprint(p.w, "\r"+clearLine)
		}
		return w.Write(b)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// line returns the bar after some time, in a number of columns.
func (s state) line(took time.Duration, width int) string {
	line := fmt.Sprintf("%s, %s/s", s.text, rate(s.count/max(took.Seconds(), 1e-3), s.unit))
	if s.share >= 0 {
		share := min(s.share, 1)
		if left := time.Duration(float64(took) * (1 - share) / max(share, 1e-6)); share < 1 && share > 0.01 {
			line += ", " + about(left) + " left"
		}
		n := int(share * progressWidth)
		percent := fmt.Sprintf("%3.0f %%  ", 100*share)
		bar := "[" + strings.Repeat("#", n) + strings.Repeat("-", progressWidth-n) + "] "
		if line = percent + line; len(bar)+terminal.Columns(line) <= width {
			line = bar + line
		}
	}
	if width <= 0 {
		return line
	}
	return terminal.Shorten(line, width)
}

// rate writes how much is done in a second.
func rate(n float64, unit string) string {
	if unit == "B" {
		return string(size(uint64(n)))
	}
	return fmt.Sprintf("%.0f%s", n, unit)
}

// about writes a duration for people who wait.
func about(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
}

// A fileReading counts the bytes read from a file.
type fileReading struct {
	total int64        // size of the file; 0 if unknown
	bytes atomic.Int64 // bytes read so far
}

// of returns a reader whose bytes are counted.
func (r *fileReading) of(in io.Reader) io.Reader {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			r.total = info.Size()
		}
	}
	return io.TeeReader(in, writerFunc(func(b []byte) (int, error) {
		r.bytes.Add(int64(len(b)))
		return len(b), nil
	}))
}

// A work is long work on the files of a store, measured in bytes. The first SIGINT or
// SIGTERM ends it in order, the second at once.
type work struct {
	*progress

	verb        string       // what is done with the bytes
	other       func() state // progress that is not measured in bytes, or nil
	done, total atomic.Uint64

	interrupted bool // by a signal; valid after end
}

// begin begins the work. It gives the command a context that a signal ends, and a writer
// for messages above the bar. end must be called.
func (w *work) begin(cmd *cobra.Command) (end func()) {
	w.progress = newProgress(cmd.ErrOrStderr(), w.state)
	if w.other != nil {
		w.progress.state = w.other
		w.terminal = w.terminal && !outputOf(cmd).IsTerminal() // no bar over records
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	again := context.AfterFunc(ctx, stop) // so that the next signal has its usual effect
	cmd.SetContext(ctx)
	cmd.SetErr(w.progress)
	go w.run()
	return func() {
		again()
		w.interrupted = ctx.Err() != nil
		w.end()
		stop()
	}
}

// set sets the progress.
func (w *work) set(done, total uint64) {
	w.total.Store(total)
	w.done.Store(done)
}

func (w *work) state() state {
	done, total := w.done.Load(), w.total.Load()
	s := state{text: fmt.Sprintf("%s of %s %s", size(done), size(total), w.verb), count: float64(done), unit: "B", share: -1}
	if total > 0 {
		s.share = float64(done) / float64(total)
	}
	return s
}

// summary prints what was done. If a signal has ended the work, it returns an error.
func (w *work) summary(cmd *cobra.Command, err error, what string) error {
	if err != nil && w.interrupted {
		what, err = "interrupted: "+what, exitError(exitInterrupted)
	}
	var exit exitError
	if err == nil || errors.As(err, &exit) {
		say(cmd.ErrOrStderr(), "%s in %v", what, time.Since(w.began).Round(10*time.Millisecond))
	}
	return err
}
