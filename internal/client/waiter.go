package client

import "github.com/dictwire/dictwire/dict"

// A waiter waits until a record is settled, or all up to it.
type waiter struct {
	number uint64
	flush  bool          // it waits for all up to number
	gone   bool          // guarded by sender.mu: nobody waits any more; only segment.waiters hold such
	done   chan struct{} // holds one when reply and err are there
	reply  *dict.Dict
	err    error
}

func (c *Client) newWaiter() *waiter {
	if w, ok := c.waiters.Get().(*waiter); ok {
		return w
	}
	return &waiter{done: make(chan struct{}, 1)}
}

// free gives back a waiter that has waited.
func (c *Client) free(w *waiter) {
	*w = waiter{done: w.done}
	c.waiters.Put(w)
}

// end ends the waiting.
func (w *waiter) end(o outcome) {
	w.reply, w.err = o.reply, o.err
	w.done <- struct{}{}
}
