package client

import "github.com/dictwire/dictwire/dict"

// A waiter waits until a record, or all records up to it, are settled.
type waiter struct {
	number uint64
	flush  bool          // it waits for all records up to number
	gone   bool          // guarded by sender.mu: its call has returned; only segment.waiters may still hold it
	done   chan struct{} // holds one element when reply and err are set
	reply  *dict.Dict
	err    error
}

func (c *Client) newWaiter() *waiter {
	if w, ok := c.waiters.Get().(*waiter); ok {
		return w
	}
	return &waiter{done: make(chan struct{}, 1)}
}

// free returns a waiter to the pool after its wait.
func (c *Client) free(w *waiter) {
	*w = waiter{done: w.done}
	c.waiters.Put(w)
}

// end ends the wait with an outcome.
func (w *waiter) end(o outcome) {
	w.reply, w.err = o.reply, o.err
	w.done <- struct{}{}
}
