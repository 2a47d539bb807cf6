package pebble

import (
	"context"

	"github.com/dictwire/dictwire/store"
)

// What a reader holds while it reads blocks that are not large: as much as would be
// good, and as little as will do.
const (
	goodRoom = 3 * chunkBytes
	someRoom = 12 << 10
)

// entryCost is how many bytes an entry of a chunk takes beside the block's.
const entryCost = 96

// A roomy is what a reader has of its [store.Room].
type roomy struct {
	held    int64 // bytes
	decoded int64 // of the largest block of the chunk, decoded
	need    int64 // what the first block of a chunk is to have, where that is more
	full    int   // bytes at which a chunk is full
}

// ask asks for room for the next chunk.
func (r *reader) ask(ctx context.Context) error {
	room := r.o.Room
	r.room.decoded, r.room.full = 0, chunkBytes
	if room == nil {
		return nil
	}
	need := max(r.room.need, someRoom)
	r.room.need = 0
	if r.room.held > goodRoom && need <= goodRoom { // a large block came before
		r.bytes, r.block = nil, store.Block{}
	}
	if need <= goodRoom && r.room.held != goodRoom && room.Want(goodRoom) {
		r.room.held = goodRoom
	}
	if r.room.held < need {
		if err := room.Need(ctx, need); err != nil {
			return err
		}
		r.room.held = need
	}
	if r.room.held < goodRoom {
		r.room.full = someRoom / 3
	}
	return nil
}

// fits reports whether there is room for a block beside those of the chunk.
func (r *reader) fits(v []byte) bool {
	if r.o.Room == nil {
		return true
	}
	if e, _, err := cutEnvelope(v); err == nil {
		r.room.decoded = max(r.room.decoded, int64(e.bytes)+4*int64(e.records))
	}
	cost := int64(len(r.bytes)+len(v)) + entryCost*int64(len(r.chunk)+1) + r.room.decoded
	switch {
	case cost <= r.room.held:
		return true
	case r.o.Room.Want(cost):
		r.room.held = cost
		return true
	case len(r.chunk) == 0:
		r.room.need = cost
	}
	return false
}

// free gives back all room.
func (r *reader) free() {
	r.chunk, r.bytes, r.block = nil, nil, store.Block{}
	if r.o.Room != nil && r.room.held > 0 {
		r.o.Room.Want(0)
		r.room.held = 0
	}
}
