package lease

import (
	"container/list"
	"sync/atomic"
)

// A Host is where peers come from. Good records from a host, and what readers there have
// taken, pay for turns of later connections from it, so that a known peer that connects
// again does not wait for turns after hundreds of unknown ones.
type Host struct {
	of     *Turns
	name   string
	credit atomic.Int64

	// Guarded by of.mu.
	users int
	place *list.Element // in hosts.past; nil while the host has users
}

const (
	// turnPrice is the price of a turn, in good records.
	turnPrice = 64
	// maxCredit bounds the credit of a host, up and down.
	maxCredit = 256 * turnPrice
	// maxRemembered is how many hosts without users are remembered for their credit.
	maxRemembered = 4096
)

// hosts are those with users, and those that are remembered.
type hosts struct {
	byName map[string]*Host
	past   list.List // of *Host: remembered ones, the longest first
}

// Host returns the host of that name, which is in use until Leave is called.
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

// Turn returns a Turn for a goroutine that works for the host.
func (h *Host) Turn() *Turn { return &Turn{of: h.of, host: h, kind: none} }

// Credit counts n good records in favour of the host or, if n is negative, −n bad ones
// against it. Any goroutine may call it.
func (h *Host) Credit(n int) {
	if n > 0 {
		h.of.stored.note()
	}
	h.count(n)
}

// CreditTurns counts as much in favour of the host as n turns cost. Any goroutine may call
// it.
func (h *Host) CreditTurns(n int) { h.count(n * turnPrice) }

func (h *Host) count(n int) {
	for {
		had := h.credit.Load()
		has := min(max(had+int64(n), -maxCredit), maxCredit)
		if has == had || h.credit.CompareAndSwap(had, has) {
			return
		}
	}
}

// HasCredit reports whether the host can pay for a turn. A nil host can't. Any goroutine
// may call it.
func (h *Host) HasCredit() bool { return h != nil && h.credit.Load() > 0 }

// pay pays for a turn, and reports whether there was credit for it.
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
