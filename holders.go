package dictwire

import (
	"sync"

	"github.com/dictwire/dictwire/store"
)

// holders are the connections that hold a producer or a cursor, each of which
// has one holder: the newest.
type holders struct {
	mu      sync.Mutex
	writers map[store.Producer]*writer   // guarded by mu
	readers map[store.CursorName]*reader // guarded by mu
}

func (h *holders) init() {
	h.writers = make(map[store.Producer]*writer)
	h.readers = make(map[store.CursorName]*reader)
}

// write makes w its producer's holder, unless a later claim has come before.
func (h *holders) write(w *writer) {
	h.mu.Lock()
	old := h.writers[w.producer]
	if old != nil && old.claim.Epoch > w.claim.Epoch {
		old, w = w, old
	}
	h.writers[w.producer] = w
	h.mu.Unlock()
	if old != nil && old.fence != nil {
		old.fence(fenced())
	}
}

func (h *holders) endWrite(w *writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writers[w.producer] == w {
		delete(h.writers, w.producer)
	}
}

// read makes r its cursor's holder, unless it is stale.
func (h *holders) read(r *reader) bool {
	h.mu.Lock()
	old := h.readers[r.cursor]
	if old != nil && r.try != 0 && r.try < old.try {
		h.mu.Unlock()
		return false
	}
	h.readers[r.cursor] = r
	h.mu.Unlock()
	if old != nil && old.fence != nil {
		old.fence(fenced())
	}
	return true
}

// reads reports whether r is still its cursor's holder.
func (h *holders) reads(r *reader) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.readers[r.cursor] == r
}

func (h *holders) endRead(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers[r.cursor] == r {
		delete(h.readers, r.cursor)
	}
}
