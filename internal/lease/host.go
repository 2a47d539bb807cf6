package lease

import (
	"container/list"
	"sync/atomic"
)

// A Host is where peers come from. Good records that came from it pay for the first turns
// of those who come later: a known peer that connects again does not wait for them after
// hundreds of strangers.
type Host struct {
	of     *Turns
	name   string
	credit atomic.Int64

	// Guarded by of.mu.
	users int
	place *list.Element // among those that are remembered; nil while it has users
}

const (
	// turnPrice is how many good records pay for a turn.
	turnPrice = 64
	// maxCredit bounds how much of what was counts, for and against a host.
	maxCredit = 256 * turnPrice
	// maxRemembered is how many hosts with credit are remembered that have no users.
	maxRemembered = 4096
)

// hosts are those that have users, or are remembered.
type hosts struct {
	byName map[string]*Host
	past   list.List // of *Host: remembered, the longest first
}

// Host returns a host that is used from now on, until its Leave is called.
func (t *Turns) Host(name string) *Host {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts.byName[name]
	if h == nil {
		if t.hosts.byName == nil {
			t.hosts.byName = map[string]*Host{}
		}
		h = &Host{of: t, name: name}
		t.hosts.byName[name] = h
	}
	if h.users++; h.place != nil {
		t.hosts.past.Remove(h.place)
		h.place = nil
	}
	return h
}

// Leave ends a use of the host.
func (h *Host) Leave() {
	t := h.of
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.users--; h.users > 0 {
		return
	}
	if h.credit.Load() <= 0 {
		delete(t.hosts.byName, h.name)
		return
	}
	h.place = t.hosts.past.PushBack(h)
	if t.hosts.past.Len() > maxRemembered {
		oldest := t.hosts.past.Remove(t.hosts.past.Front()).(*Host)
		delete(t.hosts.byName, oldest.name)
	}
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Turn returns the turns of one goroutine, which has none yet, and works for the host.
func (h *Host) Turn() *Turn { return &Turn{of: h.of, host: h, kind: none} }

// Credit counts good records for the host, or, where n is below zero, bad ones against it.
// Any goroutine may call it.
func (h *Host) Credit(n int) {
	for {
		had := h.credit.Load()
		has := min(max(had+int64(n), -maxCredit), maxCredit)
		if has == had || h.credit.CompareAndSwap(had, has) {
			return
		}
	}
}

// HasCredit reports whether the host's records were good, for the most part, and not all of
// them have paid for a turn. A nil host has none. Any goroutine may call it.
func (h *Host) HasCredit() bool { return h != nil && h.credit.Load() > 0 }

// pay pays for a turn, and reports whether there was the credit for it.
func (h *Host) pay() bool {
	for {
		had := h.credit.Load()
		if had < turnPrice {
			return false
		}
		if h.credit.CompareAndSwap(had, had-turnPrice) {
			return true
		}
	}
}
