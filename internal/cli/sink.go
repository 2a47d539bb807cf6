package cli

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dictwire/dictwire"
)

// A parcel is what was made of the records of a batch.
type parcel struct {
	batch   *dictwire.Batch
	text    []byte
	records []piece // those of which something was made
}

// A piece is what was made of one record.
type piece struct{ index, end int } // in the batch; and of its text

// A sink takes what is read, and moves the cursor after what it has taken.
type sink interface {
	// put takes a parcel, which is valid until it returns. With settle, it
	// returns when the cursor stands after it.
	put(ctx context.Context, p *parcel, settle bool) error

	// stop ends it: what it works on is finished, and the cursor moved. What it
	// returns yields the error that ended it, or nil.
	stop() <-chan error

	// waits says what stop may wait for.
	waits() string
}

// errStopped is what put returns after stop.
var errStopped = errors.New("no more is taken")

// A printing is the sink that writes to an output.
type printing struct {
	ctx     context.Context //nolint:containedctx // the command's life
	out     io.Writer
	commits *commits // nil where there is no cursor

	busy     sync.Mutex // held while something is written
	stopping bool       // guarded by busy
}

func newPrinting(ctx context.Context, out io.Writer, cursor bool) *printing {
	p := &printing{ctx: ctx, out: out}
	if cursor {
		p.commits = newCommits(ctx)
	}
	return p
}

func (p *printing) put(ctx context.Context, parcel *parcel, settle bool) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	if p.stopping {
		return errStopped
	}
	if len(parcel.text) > 0 {
		if _, err := p.out.Write(parcel.text); err != nil {
			return err
		}
	}
	switch {
	case p.commits == nil:
		return nil
	case settle:
		return parcel.batch.Commit(ctx)
	default:
		p.commits.put(parcel.batch)
		return p.commits.failed()
	}
}

func (p *printing) stop() <-chan error {
	p.busy.Lock()
	p.stopping = true
	p.busy.Unlock()
	done := make(chan error, 1)
	if p.commits == nil {
		done <- nil
		return done
	}
	go func() {
		select {
		case <-p.commits.end():
		case <-time.After(patience): // the server is away
		case <-p.ctx.Done():
		}
		done <- nil
	}()
	return done
}

func (p *printing) waits() string { return "the server to save the cursor" }
