package cli

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dictwire/dictwire"
)

// A parcel is the rendered records of a batch.
type parcel struct {
	batch   *dictwire.Batch
	text    []byte
	records []piece // the records with output
}

// A piece is a record with output.
type piece struct{ index, end int } // index in the batch; end of its text

// A sink accepts what is read, and moves the cursor after it.
type sink interface {
	// put accepts a parcel, which is valid until put returns. With settle, put returns
	// when the cursor is after it.
	put(ctx context.Context, p *parcel, settle bool) error

	// stop ends the sink: current work is finished, and the cursor is moved. The channel
	// then yields the error that ended the sink, or nil.
	stop() <-chan error

	// waits returns what stop may have to wait for.
	waits() string
}

// errStopped is returned by put after stop.
var errStopped = errors.New("no more is taken")

// A printing is the sink that writes to an output.
type printing struct {
	ctx     context.Context //nolint:containedctx // the command's life
	out     io.Writer
	commits *commits // nil without a cursor

	busy     sync.Mutex // held during a write
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
