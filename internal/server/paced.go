package server

import (
	"sync"
	"time"
)

// wrongTime is how long a peer waits at most that gives wrong credentials.
const wrongTime = 10 * time.Second

// pacePeers is how many addresses a paced tells apart.
const pacePeers = 4096

// A paced spreads what comes from each address over time: so many at once, and then one
// every so often. It remembers a bounded number of addresses; all beyond them are one.
type paced struct {
	every  time.Duration
	atOnce int
	ahead  time.Duration // how long one may have to wait and is counted; zero: who has to wait is not

	mu    sync.Mutex
	free  map[string]time.Time // when all is forgotten of an address; guarded by mu
	swept time.Time            // guarded by mu
}

// take returns how long one more of an address has to wait; zero or less, not at all.
func (p *paced) take(host string, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.free[host]; !known {
		if len(p.free) >= pacePeers && now.Sub(p.swept) >= p.every {
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
	wait = free.Sub(now) - time.Duration(p.atOnce-1)*p.every
	if wait > p.ahead {
		return wait
	}
	if p.free == nil {
		p.free = make(map[string]time.Time)
	}
	p.free[host] = free.Add(p.every)
	return wait
}
