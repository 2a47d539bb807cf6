// Package lease shares one budget of memory among many connections, so that
// what they hold together stays bounded and every one of them gets on.
//
//	budget ┬ small   an eighth: leases of at most 16 KiB
//	       ├ known   none, or what is kept for it: leases of at most 320 KiB of
//	       │         known peers
//	       ├ lane    a quarter at most: one lease at a time, of any size
//	       └ large   the rest: leases above 16 KiB, and small ones that found
//	                 no room in their part
//
// Senders of ordinary records live in the small part, where large records can't starve
// them. If the large part is used up, further requests wait in line, in which hosts take
// turns. The first in line takes the lane, so that one large record is always in
// progress. A holder can ask whether others wait, and hurry ([Budget.Pressed]).
package lease

import (
	"context"
	"sync"
	"sync/atomic"
)

// Small is the largest lease in the small part, in bytes.
const Small = 16 << 10

// knownMost is the largest lease in the part for known peers, in bytes.
const knownMost = 320 << 10

// A Budget is an amount of memory to lease. Any number of goroutines may use it at once.
type Budget struct {
	waiting atomic.Int32 // requests in line

	total int64 // bytes, without the lane

	mu    sync.Mutex
	small int64 // free bytes
	known int64 // free bytes
	need  int64 // of the known part, kept from TryResize
	large int64 // free bytes
	half  int64 // of the large part
	lane  bool  // the lane is free

	// Requests in line: for at most Small bytes, of known peers, and others. Separate
	// lines find the next request for freed memory at once; with hundreds in line,
	// looking at each would hold up everybody.
	little, familiar, much line[*request]
}

// line returns the line for a request of l. b.mu is held.
func (b *Budget) line(l *Lease, size int64) *line[*request] {
	switch {
	case size <= Small:
		return &b.little
	case size <= knownMost && l.isKnown():
		return &b.familiar
	default:
		return &b.much
	}
}

// A request waits for memory.
type request struct {
	l       *Lease
	size    int64
	granted chan struct{} // closed under Budget.mu when the request is granted
}

// NewBudget returns a budget of total bytes. Of these, the lane has laneBytes, but a
// quarter at most.
func NewBudget(total, laneBytes int64) *Budget {
	b := &Budget{small: total / 8, lane: true}
	b.large = total - b.small - min(laneBytes, total/4)
	b.half = b.large / 2
	b.total = b.small + b.large
	return b
}

// InUse returns how many bytes are leased, without the lane.
func (b *Budget) InUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.small - b.known - b.large
}

// KeepForKnown sets n bytes of the large part aside for known peers: see
// [Lease.SetKnown]. Half of them are available to TryResize. It must be called before the
// budget is used.
func (b *Budget) KeepForKnown(n int64) {
	b.known = min(n, b.large)
	b.need = b.known / 2
	b.large -= b.known
	b.half = b.large / 2
}

// Pressed reports whether a request is waiting for memory.
func (b *Budget) Pressed() bool { return b.waiting.Load() > 0 }

// Share returns how much one of several large leases may be promised while others still
// get enough: an eighth of the large part.
func (b *Budget) Share() int64 { return b.half / 4 }

// A Lease is the memory of one holder. It belongs to one goroutine.
type Lease struct {
	b     *Budget
	host  *Host
	known atomic.Bool
	size  int64
	from  part
}

type part uint8

const (
	nowhere part = iota
	smallPart
	knownPart
	largePart
	lanePart
)

// Lease returns an empty lease for a peer from a host, which may be nil.
func (b *Budget) Lease(h *Host) *Lease { return &Lease{b: b, host: h} }

// SetKnown says whether the lease belongs to a known peer. For ordinary amounts, known
// peers do not wait in line with the others. A peer whose host has credit counts as
// known, too. Any goroutine may call it.
func (l *Lease) SetKnown(known bool) { l.known.Store(known) }

func (l *Lease) isKnown() bool { return l.known.Load() || l.host.HasCredit() }

// Size returns the size of the lease, in bytes.
func (l *Lease) Size() int64 { return l.size }

// Resize changes the lease to size bytes. Shrinking is immediate; growing waits until
// there is room, or until ctx is done. Then it returns the cause of ctx, and the lease is
// unchanged.
func (l *Lease) Resize(ctx context.Context, size int64) error {
	if size == l.size {
		return nil
	}
	b := l.b
	b.mu.Lock()
	if b.mayPass(l, size, 0) && b.take(l, size, 0) {
		b.serve()
		b.mu.Unlock()
		return nil
	}
	r := &request{l: l, size: size, granted: make(chan struct{})}
	line := b.line(l, size)
	at := line.push(l.host, r)
	b.waiting.Add(1)
	b.serve()
	b.mu.Unlock()

	select {
	case <-r.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-r.granted:
		return nil
	default:
		line.remove(at)
		b.waiting.Add(-1)
		b.serve()
		return context.Cause(ctx)
	}
}

// Shrink reduces the lease to at most size bytes, without waiting.
func (l *Lease) Shrink(size int64) {
	if size >= l.size {
		return
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.take(l, size, 0)
	l.b.serve()
}

// TryResize is Resize for memory that is useful but not necessary. All such leases
// together may take half of the large part. It returns false, with the lease unchanged,
// if that is used up.
func (l *Lease) TryResize(size int64) bool {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if size > Small && b.large < b.half && !b.hasKnown(l, size, b.need) || !b.mayPass(l, size, b.need) || !b.take(l, size, b.need) {
		return false
	}
	b.serve()
	return true
}

// mayPass reports whether l may take size bytes without waiting in line, if keeps bytes
// of the part for known peers stay free. b.mu is held.
func (b *Budget) mayPass(l *Lease, size, keeps int64) bool {
	return b.waiting.Load() == 0 || size <= l.size || size <= Small || l.from == lanePart || b.hasKnown(l, size, keeps)
}

// hasKnown reports whether the part for known peers has room for size bytes of l, with
// keeps bytes to spare. b.mu is held.
func (b *Budget) hasKnown(l *Lease, size, keeps int64) bool {
	free := b.known - keeps
	if l.from == knownPart {
		free += l.size
	}
	return l.isKnown() && size <= knownMost && size <= free
}

// take moves l to a part with room for size bytes. keeps bytes of the part for known
// peers stay free. b.mu is held.
func (b *Budget) take(l *Lease, size, keeps int64) bool {
	had, from := l.size, l.from
	b.put(l)
	switch {
	case size == 0:
		return true
	case size <= Small && b.small >= size:
		b.small -= size
		l.from = smallPart
	case b.hasKnown(l, size, keeps):
		b.known -= size
		l.from = knownPart
	case b.large >= size:
		b.large -= size
		l.from = largePart
	case size <= had: // it may always keep what it has
		b.restore(l, size, from)
		return true
	case from == lanePart:
		b.lane = false
		l.from = lanePart
	default:
		b.restore(l, had, from)
		return false
	}
	l.size = size
	return true
}

// put gives all of l back. b.mu is held.
func (b *Budget) put(l *Lease) {
	switch l.from {
	case smallPart:
		b.small += l.size
	case knownPart:
		b.known += l.size
	case largePart:
		b.large += l.size
	case lanePart:
		b.lane = true
	case nowhere:
	}
	l.size, l.from = 0, nowhere
}

// restore undoes put. b.mu is held.
func (b *Budget) restore(l *Lease, size int64, from part) {
	switch from {
	case smallPart:
		b.small -= size
	case knownPart:
		b.known -= size
	case largePart:
		b.large -= size
	case lanePart:
		b.lane = false
	case nowhere:
	}
	l.size, l.from = size, from
}

// serve grants waiting requests in order. Small ones do not wait for large ones. b.mu is
// held.
func (b *Budget) serve() {
	for b.grant(&b.little, b.much.isEmpty()) {
	}
	for b.grant(&b.familiar, b.much.isEmpty()) {
	}
	for b.grant(&b.much, true) {
	}
}

// grant grants the first request of a line if there is room or if it may have the lane,
// and that is free. b.mu is held.
func (b *Budget) grant(line *line[*request], lane bool) bool {
	r, ok := line.first()
	if !ok {
		return false
	}
	if !b.take(r.l, r.size, 0) {
		if !lane || !b.lane {
			return false
		}
		b.put(r.l)
		b.lane = false
		r.l.size, r.l.from = r.size, lanePart
	}
	line.pop()
	b.waiting.Add(-1)
	close(r.granted)
	return true
}
