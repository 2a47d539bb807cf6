package server

import (
	"sync"
	"time"
)

// wrongTime is the longest delay of a peer that gave wrong credentials.
const wrongTime = 10 * time.Second

// pacePeers is how many addresses a paced keeps apart.
const pacePeers = 4096

// A paced limits the rate of events for each peer. Every event has a cost in time, and a
// peer may run up a small debt before its next event has to wait. The number of peers is
// bounded; all others share one account.
type paced struct {
	atOnce time.Duration // the debt that needs no waiting

	mu    sync.Mutex
	free  map[string]time.Time // when a peer's debt is paid off; guarded by mu
	swept time.Time            // guarded by mu
}

// take charges a peer for one more event and returns how long the event has to wait; zero
// or less means not at all. An event that would wait for longer than patience is not
// charged.
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
