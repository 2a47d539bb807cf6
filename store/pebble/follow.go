package pebble

import "strings"

// A waiter is a reader that follows. Its channel holds a token when there may
// be something new.
type waiter chan struct{}

// waiters are the readers that follow, by what they wait for, so that a block
// of one topic costs nothing to those who wait for another.
type waiters struct {
	all      map[waiter]bool
	exact    map[string]map[waiter]bool
	prefixes map[string]map[waiter]bool // "orders."
}

// wake wakes those who wait for a topic.
func (w *waiters) wake(topic string) {
	wake(w.all)
	wake(w.exact[topic])
	if len(w.prefixes) == 0 {
		return
	}
	for i := range len(topic) {
		if topic[i] == '.' {
			wake(w.prefixes[topic[:i+1]])
		}
	}
}

func wake(set map[waiter]bool) {
	for w := range set {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// sets calls f with each of the maps in which a reader of topics is noted.
func (w *waiters) sets(topics []string, f func(m map[string]map[waiter]bool, key string)) (all bool) {
	for _, t := range topics {
		prefix, below := strings.CutSuffix(t, "*")
		switch {
		case t == "*":
			return true
		case below:
			f(w.prefixes, prefix)
		default:
			f(w.exact, t)
		}
	}
	return len(topics) == 0
}

// follow notes a reader of topics.
func (o *order) follow(topics []string) waiter {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := &o.waiters
	if w.all == nil {
		w.all = map[waiter]bool{}
		w.exact = map[string]map[waiter]bool{}
		w.prefixes = map[string]map[waiter]bool{}
	}
	c := make(waiter, 1)
	if w.sets(topics, func(m map[string]map[waiter]bool, key string) {
		if m[key] == nil {
			m[key] = map[waiter]bool{}
		}
		m[key][c] = true
	}) {
		w.all[c] = true
	}
	return c
}

// unfollow undoes follow.
func (o *order) unfollow(c waiter, topics []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiters.sets(topics, func(m map[string]map[waiter]bool, key string) {
		delete(m[key], c)
		if len(m[key]) == 0 {
			delete(m, key)
		}
	})
	delete(o.waiters.all, c)
}
