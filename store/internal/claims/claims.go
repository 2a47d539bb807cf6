// Package claims has claims that last as long as the process. Drivers use it to tell
// claimants that they were fenced.
package claims

import (
	"context"
	"sync"
)

// A Table holds the claims of producers or cursors by name. The zero Table is empty and
// ready to use.
type Table[K comparable] struct {
	mu     sync.Mutex
	claims map[K]claim // guarded by mu
}

type claim struct {
	epoch, attempt uint64
	end            context.CancelFunc
}

// Put replaces the current claim, which ends. If that claim has a higher epoch, the new
// one has ended already. The context is done when the new claim ends.
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

// Get returns the epoch and the attempt of the current claim, or zeros.
func (t *Table[K]) Get(name K) (epoch, attempt uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.claims[name]
	return c.epoch, c.attempt
}

// Release ends the claim with the given epoch, if it is the current one.
func (t *Table[K]) Release(name K, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.claims[name]; ok && c.epoch == epoch {
		c.end()
		delete(t.claims, name)
	}
}

// End ends the current claim, if there is one.
func (t *Table[K]) End(name K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.claims[name]; ok {
		c.end()
		delete(t.claims, name)
	}
}
