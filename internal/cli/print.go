package cli

import (
	"fmt"
	"io"
	"sync"

	"github.com/dictwire/dictwire/dict"
)

// maxPending is how many bytes wait for the output at the most. Beyond it who
// prints waits.
const maxPending = 256 << 10

// A printer writes dictionaries to an output, each whole, those of one caller in
// order. Many goroutines may print at once: what comes while a write is under
// way goes out with the next one.
type printer struct {
	w      io.Writer
	format appender
	failed chan struct{} // closed at the first error
	ended  chan struct{} // closed when the writing goroutine ends

	mu      sync.Mutex
	changed sync.Cond
	pending []byte // not written yet
	ends    []int  // of each record in pending
	lost    int    // records that were given to print and can't be written
	err     error  // of the output
	closed  bool   // no more comes
}

// newPrinter returns a printer that ends with close.
func newPrinter(w io.Writer, format appender) *printer {
	p := &printer{w: w, format: format, failed: make(chan struct{}), ended: make(chan struct{})}
	p.changed.L = &p.mu
	go p.write()
	return p
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// print prints a dictionary. It returns the output's error, if there was one,
// or that of a dictionary that the format can't hold.
func (p *printer) print(d *dict.Dict) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	out, err := p.format((*buf)[:0], d)
	if cap(out) <= maxPending {
		*buf = out
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.pending) > maxPending && p.err == nil {
		p.changed.Wait()
	}
	if p.err != nil {
		p.lost++
		return p.err
	}
	p.pending = append(p.pending, out...)
	p.ends = append(p.ends, len(p.pending))
	p.changed.Broadcast()
	return nil
}

// write writes what is pending until the printer is closed or the output fails.
func (p *printer) write() {
	defer close(p.ended)
	var bytes []byte
	var ends []int
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.pending) == 0 && !p.closed {
			p.changed.Wait()
		}
		if len(p.pending) == 0 {
			return
		}
		bytes, p.pending = p.pending, bytes[:0]
		ends, p.ends = p.ends, ends[:0]
		p.changed.Broadcast()
		p.mu.Unlock()
		n, err := p.w.Write(bytes)
		p.mu.Lock()
		if err != nil {
			p.fail(err, ends, n)
			return
		}
	}
}

// fail takes note that the output failed after n bytes of the records that end
// where ends says. p.mu is held.
func (p *printer) fail(err error, ends []int, n int) {
	p.err = err
	for _, end := range ends {
		if end > n {
			p.lost++
		}
	}
	p.lost += len(p.ends)
	p.pending, p.ends = nil, nil
	p.changed.Broadcast()
	close(p.failed)
}

// close waits until all is written. It returns the error of the output, which
// says how many records are lost by it.
func (p *printer) close() error {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("standard output: %w; %s received, but not printed", p.err, count(int64(p.lost), "dictionary was", "dictionaries were"))
}
