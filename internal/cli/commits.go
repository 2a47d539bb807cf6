package cli

import (
	"context"
	"sync"

	"github.com/dictwire/dictwire"
)

// commits moves a cursor after its reader, without blocking the reader: if it lags, only
// the last batch is committed.
type commits struct {
	latest chan *dictwire.Batch // of capacity 1
	ending sync.Once
	ended  chan struct{}
	err    error // why committing failed; valid when ended is closed
}

// newCommits returns commits that run until end is called or ctx ends.
func newCommits(ctx context.Context) *commits {
	c := &commits{latest: make(chan *dictwire.Batch, 1), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		for b := range c.latest {
			if c.err = b.Commit(ctx); c.err != nil {
				return
			}
		}
	}()
	return c
}

// put commits a batch. It must not be called after end.
func (c *commits) put(b *dictwire.Batch) {
	select {
	case <-c.latest:
	default:
	}
	c.latest <- b
}

// failed returns why committing failed, or nil.
func (c *commits) failed() error {
	select {
	case <-c.ended:
		return c.err
	default:
		return nil
	}
}

// end stops accepting batches. The result is closed when everything is committed.
func (c *commits) end() <-chan struct{} {
	c.ending.Do(func() { close(c.latest) })
	return c.ended
}
