package walk

import (
	"io"
	"unsafe"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/shape"
	"github.com/dictwire/dictwire/dict"
)

// keep is the memory in bytes that is always kept from record to record.
const keep = 8 << 10

// Answer is what a scanner's Next returns where its parser has returned n for buf.
func (w *Walk) Answer(buf []byte, n int) (start, end int, err error) {
	switch n {
	case Incomplete:
		return 0, 0, codec.ErrIncomplete
	case Failed:
		end, err := w.bad(buf)
		return 0, end, err
	default:
		w.Pos, w.items = 0, 0 // the rest is as after reset
		if w.patience.Ends(n) {
			w.shrink()
		}
		return 0, n, nil
	}
}

// End is a scanner's End.
func (w *Walk) End(buf []byte) (start, end int, err error) {
	if len(buf) == 0 {
		return 0, 0, io.EOF
	}
	return w.Answer(buf, w.Truncated(buf))
}

// Scratch returns the bytes of memory that w uses.
func (w *Walk) Scratch() int {
	return int(unsafe.Sizeof(Frame{}))*cap(w.Frames) + w.Keys.Scratch() + w.builder.Scratch() + w.shapes.Scratch() + cap(w.Text) + int(unsafe.Sizeof(level{}))*cap(w.pass.levels)
}

// Release gives a scanner's memory back, where no record has begun.
func (w *Walk) Release() {
	if len(w.Frames) == 0 {
		w.free()
	}
}

//go:noinline
func (w *Walk) free() {
	w.Frames, w.Keys, w.shapes, w.builder, w.Text = nil, keyset.Set{}, shape.Shapes{}, dict.Builder{}, nil
	if !w.passing {
		w.pass = pass{}
	}
}

// shrink gives memory back that many records in a row have not needed.
func (w *Walk) shrink() {
	if w.patience.Unneeded(w.Scratch(), keep) {
		w.free()
	}
}
