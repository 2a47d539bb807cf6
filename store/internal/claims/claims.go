// Package claims has the claims that last in one process: what drivers tell those by who
// are fenced.
package claims

import (
	"context"
	"sync"
)

// A Table holds the claims of producers or cursors by their names. The zero Table
// is empty and ready to use.
type Table[K comparable] struct {
	mu     sync.Mutex
	claims map[K]claim // guarded by mu
}

type claim struct {
	epoch, attempt uint64
	end            context.CancelFunc
}

// Put makes a claim in place of the one that lasted, which ends. Where that one has a
// higher epoch, the claim has ended already. The context is done when it ends itself.
func (t *Table[K]) Put(name K, epoch, attempt uint64) context.Context {
	ctx, end := context.WithCancel(context.Background())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.claims == nil {
		t.claims = map[K]claim{}
	}
	if old, ok := t.claims[name]; ok {
		if old.epoch > epoch {
			end()
			return ctx
		}
		old.end()
	}
	t.claims[name] = claim{epoch, attempt, end}
	return ctx
}

// Get returns the epoch and the attempt of the claim that lasts, zeros where
// there is none.
func (t *Table[K]) Get(name K) (epoch, attempt uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.claims[name]
	return c.epoch, c.attempt
}

// Release ends the claim with an epoch, if it lasts.
func (t *Table[K]) Release(name K, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.claims[name]; ok && c.epoch == epoch {
		c.end()
		delete(t.claims, name)
	}
}

// End ends the claim that lasts, if there is one.
func (t *Table[K]) End(name K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.claims[name]; ok {
		c.end()
		delete(t.claims, name)
	}
}
