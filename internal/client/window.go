package client

import (
	"context"
	"sync"
	"sync/atomic"
)

// A window limits the number of records and their bytes. Goroutines that enter at the same
// moment may exceed the limits by one record each.
type window struct {
	maxRecords, maxBytes int64
	records, bytes       atomic.Int64

	waiting atomic.Bool // room is not nil
	mu      sync.Mutex
	room    chan struct{} // guarded by mu: closed when there is room; nil if nobody waits
	closed  bool          // guarded by mu
}

func (w *window) hasRoom() bool {
	return w.records.Load() < w.maxRecords && w.bytes.Load() < w.maxBytes
}

// enter waits until there is room for one record, and then takes the place of n. If ctx ends, it
// takes none.
func (w *window) enter(ctx context.Context, n int) error {
	if err := w.await(ctx); err != nil {
		return err
	}
	w.records.Add(int64(n))
	return nil
}

// await waits until there is room.
func (w *window) await(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if w.hasRoom() {
			return nil
		}
		room, err := w.wait()
		if err != nil {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// tryEnter takes the place of a record, or reports false if there is no room.
func (w *window) tryEnter() bool {
	if !w.hasRoom() {
		return false
	}
	w.records.Add(1)
	return true
}

// wait returns a channel that is closed when there is room.
func (w *window) wait() (<-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	if w.room == nil {
		w.room = make(chan struct{})
	}
	w.waiting.Store(true)
	room := w.room
	if w.hasRoom() { // it may have been made since the caller looked
		w.open()
	}
	return room, nil
}

// open wakes all who wait. The caller holds mu.
func (w *window) open() {
	if w.room != nil {
		close(w.room)
		w.room = nil
	}
	w.waiting.Store(false)
}

// grow adds the bytes of records that have entered.
func (w *window) grow(bytes int) { w.bytes.Add(int64(bytes)) }

// leave frees the place of records and bytes.
func (w *window) leave(records, bytes int) {
	if records == 0 && bytes == 0 {
		return
	}
	w.records.Add(-int64(records))
	w.bytes.Add(-int64(bytes))
	if w.waiting.Load() && w.hasRoom() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open()
	}
}

// close makes waiting calls of enter return ErrClosed.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.open()
}
