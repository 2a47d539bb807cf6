package log

import (
	"context"
	"sync"

	"github.com/dictwire/dictwire/store"
)

// What a reader holds while it reads blocks of ordinary size: the preferred amount, and
// the least.
const (
	goodRoom = 2 * scanBytes
	someRoom = 12 << 10
)

// ask makes sure that the reader holds enough of its [store.Room]. Nothing is locked.
func (r *reader) ask(ctx context.Context, bytes int64) error {
	if r.o.Room == nil || bytes <= r.held {
		return nil
	}
	if !r.o.Room.Want(ctx, bytes) {
		if err := r.o.Room.Need(ctx, bytes); err != nil {
			return err
		}
	}
	r.held = bytes
	return nil
}

// window returns how much of a file to read at a time, within the room that is available.
func (r *reader) window(ctx context.Context) (int, error) {
	switch {
	case r.o.Room == nil:
		return scanBytes, nil
	case r.held >= goodRoom:
	case r.o.Room.Want(ctx, goodRoom):
		r.held = goodRoom
	default:
		return someRoom / 3, r.ask(ctx, someRoom)
	}
	return scanBytes, nil
}

// decoded returns how many bytes a decoded block takes in addition to its frame.
func (i *item) decoded() int64 { return int64(i.bytes) + 4*int64(i.records) }

// blocks holds spare blocks of readers.
var blocks = sync.Pool{New: func() any { return new(store.Block) }}

// keepLast keeps the last batch valid after the loop has ended.
func (r *reader) keepLast() {
	r.block = nil
	if r.sc != nil {
		r.sc.window = nil
	}
}

// free gives back all memory.
func (r *reader) free(ctx context.Context) {
	r.leave()
	if r.block != nil && r.largest <= scanBytes {
		blocks.Put(r.block)
	}
	r.block, r.largest = nil, 0
	if r.o.Room != nil && r.held > 0 {
		r.o.Room.Want(ctx, 0)
		r.held = 0
	}
}
