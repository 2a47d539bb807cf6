package log

import (
	"strings"
	"sync"
)

// A waiter is told by a call of wake that there may be something new: see [store.Alerter].
type waiter struct{ wake func() }

// Alert implements [store.Alerter].
func (s *Store) Alert(topics []string, f func()) (stop func()) {
	w := s.waiters.follow(topics, f)
	return func() { s.waiters.unfollow(w, topics) }
}

// waiters are the following readers by what they wait for, so that a block of one topic
// costs readers of other topics nothing.
type waiters struct {
	mu       sync.Mutex
	all      map[*waiter]bool
	exact    map[string]map[*waiter]bool
	prefixes map[string]map[*waiter]bool // "orders."
}

// wake wakes the readers that wait for a topic of the group.
func (w *waiters) wake(g group) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all)+len(w.exact)+len(w.prefixes) == 0 {
		return
	}
	var last *topic
	for _, m := range g.commits {
		for i := range m.blocks {
			if t := m.blocks[i].topic; t != last {
				w.wakeTopic(t.name)
				last = t
			}
		}
	}
}

func (w *waiters) wakeTopic(topic string) {
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

func wake(set map[*waiter]bool) {
	for w := range set {
		w.wake()
	}
}

// sets calls f for each map that holds a reader of the topics.
func (w *waiters) sets(topics []string, f func(m map[string]map[*waiter]bool, key string)) (all bool) {
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

// follow adds a waiter for topics.
func (w *waiters) follow(topics []string, wake func()) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[*waiter]bool{}
		w.exact = map[string]map[*waiter]bool{}
		w.prefixes = map[string]map[*waiter]bool{}
	}
	c := &waiter{wake}
	if w.sets(topics, func(m map[string]map[*waiter]bool, key string) {
		if m[key] == nil {
			m[key] = map[*waiter]bool{}
		}
		m[key][c] = true
	}) {
		w.all[c] = true
	}
	return c
}

// unfollow undoes follow.
func (w *waiters) unfollow(c *waiter, topics []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sets(topics, func(m map[string]map[*waiter]bool, key string) {
		delete(m[key], c)
		if len(m[key]) == 0 {
			delete(m, key)
		}
	})
	delete(w.all, c)
}
