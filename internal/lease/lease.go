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
// Senders of ordinary records live in the small part, where large records
// can't starve them. When the large part is spent, those that want more wait in
// line, where the hosts that they come from take turns, and the first in line takes
// the lane: one large record at a time is always under way. Whoever holds memory while others wait can be asked to hurry
// ([Budget.Pressed]).
package lease

import (
	"context"
	"sync"
	"sync/atomic"
)

// Small is the largest lease, in bytes, that the small part serves.
const Small = 16 << 10

// knownMost is the largest lease, in bytes, that the part for known peers serves.
const knownMost = 320 << 10

// A Budget is an amount of memory to lease. Its methods may be called by
// several goroutines at once.
type Budget struct {
	waiting atomic.Int32 // how many are in line

	total int64 // bytes, without the lane

	mu    sync.Mutex
	small int64 // free bytes
	known int64 // free bytes
	need  int64 // of the known part, for those that can't do without
	large int64 // free bytes
	half  int64 // of the large part
	lane  bool  // the lane is free

	// Who waits: for at most Small bytes, known peers, and others for more. They are apart
	// so that what is given back finds its taker at once: with hundreds in line, a look at
	// each of them would hold up everybody.
	little, familiar, much line[*request]
}

// line returns where a request waits that l makes. b.mu is held.
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

// A request waits in line.
type request struct {
	l       *Lease
	size    int64
	granted chan struct{} // closed when it is, under Budget.mu
}

// NewBudget returns a budget of total bytes, of which the lane keeps laneBytes
// free for one lease, but no more than a quarter.
func NewBudget(total, laneBytes int64) *Budget {
	b := &Budget{small: total / 8, lane: true}
	b.large = total - b.small - min(laneBytes, total/4)
	b.half = b.large / 2
	b.total = b.small + b.large
	return b
}

// InUse returns how many bytes are held, without the lane.
func (b *Budget) InUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.small - b.known - b.large
}

// KeepForKnown takes n bytes of the large part for known peers: see
// [Lease.SetKnown]. TryResize has half of them. It is called before the budget is used.
func (b *Budget) KeepForKnown(n int64) {
	b.known = min(n, b.large)
	b.need = b.known / 2
	b.large -= b.known
	b.half = b.large / 2
}

// Pressed reports whether somebody waits for memory.
func (b *Budget) Pressed() bool { return b.waiting.Load() > 0 }

// Share returns how much one of several large holders can be promised without
// leaving little for the others: an eighth of the large part.
func (b *Budget) Share() int64 { return b.half / 4 }

// A Lease is one holder's memory. The zero size holds nothing. It belongs to
// one goroutine.
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

// Lease returns a lease of nothing, of a peer that comes from a host, or, where that is
// nil, from nowhere.
func (b *Budget) Lease(h *Host) *Lease { return &Lease{b: b, host: h} }

// SetKnown says whether the lease is of a known peer, which does not wait in line
// with all others for what a sender of ordinary records needs. Those whose host has
// credit are known as well. Any goroutine may call it.
func (l *Lease) SetKnown(known bool) { l.known.Store(known) }

func (l *Lease) isKnown() bool { return l.known.Load() || l.host.HasCredit() }

// Size returns what the lease holds, in bytes.
func (l *Lease) Size() int64 { return l.size }

// Resize makes the lease hold size bytes. To give back is immediate; to get
// more waits until there is room, or until ctx is done, whose cause is then the
// error and the lease is as it was.
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

// Shrink makes the lease hold at most size bytes. It never waits.
func (l *Lease) Shrink(size int64) {
	if size >= l.size {
		return
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.take(l, size, 0)
	l.b.serve()
}

// TryResize is Resize for memory that would be nice to have: it takes no more
// than half of the large part, together with all other leases. Where that is
// spent, it returns false and the lease is as it was.
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

// mayPass reports whether l may take size bytes without waiting in line, of which the part
// for known peers keeps some. b.mu is held.
func (b *Budget) mayPass(l *Lease, size, keeps int64) bool {
	return b.waiting.Load() == 0 || size <= l.size || size <= Small || l.from == lanePart || b.hasKnown(l, size, keeps)
}

// hasKnown reports whether the part for known peers has room for l to take size
// bytes, and keeps some. b.mu is held.
func (b *Budget) hasKnown(l *Lease, size, keeps int64) bool {
	free := b.known - keeps
	if l.from == knownPart {
		free += l.size
	}
	return l.isKnown() && size <= knownMost && size <= free
}

// take moves l to a part that has room for size bytes, of which the one for known peers
// keeps some. b.mu is held.
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
	case size <= had: // whatever part it is of, and whoever has become unknown
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

// put gives back all that l holds. b.mu is held.
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

// serve grants what is waited for, in order; who wants little does not wait behind
// who wants much. b.mu is held.
func (b *Budget) serve() {
	for b.grant(&b.little, b.much.isEmpty()) {
	}
	for b.grant(&b.familiar, b.much.isEmpty()) {
	}
	for b.grant(&b.much, true) {
	}
}

// grant grants what the first of a line wants, if there is room, or if it may have
// the lane and that is free. b.mu is held.
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
