package cli

import (
	"context"
	"sync"

	"github.com/dictwire/dictwire"
)

// commits moves a cursor behind its reader without holding that up: where it
// falls behind, the last batch counts.
type commits struct {
	latest chan *dictwire.Batch // holds one
	ending sync.Once
	ended  chan struct{}
	err    error // why it ended before its time; valid when ended is closed
}

// newCommits returns what ends with end, or with ctx.
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

// put has a batch committed. It must not be called once end was.
func (c *commits) put(b *dictwire.Batch) {
	select {
	case <-c.latest:
	default:
	}
	c.latest <- b
}

// failed returns why nothing is committed any more, if that is so.
func (c *commits) failed() error {
	select {
	case <-c.ended:
		return c.err
	default:
		return nil
	}
}

// end ends it when all that was put is committed. Then what it returns is
// closed.
func (c *commits) end() <-chan struct{} {
	c.ending.Do(func() { close(c.latest) })
	return c.ended
}
