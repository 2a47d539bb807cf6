package server

import (
	"sync"
	"time"
)

// wrongTime is how long a peer waits at most that gives wrong credentials.
const wrongTime = 10 * time.Second

// pacePeers is how many addresses a paced tells apart.
const pacePeers = 4096

// A paced spreads what comes from each peer over time. Each thing takes a time of its
// own, in which nothing else comes, but for what may come at once. It remembers a bounded
// number of peers; all beyond them are one.
type paced struct {
	atOnce time.Duration // of things that need not wait

	mu    sync.Mutex
	free  map[string]time.Time // when all is forgotten of a peer; guarded by mu
	swept time.Time            // guarded by mu
}

// take returns how long one more thing of a peer, which takes some time, has to wait;
// zero or less, not at all. What would have to wait for longer than patience is not
// counted.
func (p *paced) take(host string, cost, patience time.Duration, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.free[host]; !known {
		if len(p.free) >= pacePeers && now.Sub(p.swept) >= time.Second {
			p.swept = now
			for host, free := range p.free {
				if !free.After(now) {
					delete(p.free, host)
				}
			}
		}
		if len(p.free) >= pacePeers {
			host = ""
		}
	}
	free := p.free[host]
	if free.Before(now) {
		free = now
	}
	wait = free.Sub(now) - p.atOnce
	if wait > patience {
		return wait
	}
	if p.free == nil {
		p.free = make(map[string]time.Time)
	}
	p.free[host] = free.Add(cost)
	return wait
}
