package walk

import (
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
)

// Begin makes w ready for a parser that is to decode src.
func (w *Walk) Begin(f Format, src []byte, lim codec.Limits) {
	w.Limit(f, lim)
	w.reset()
	w.Err = nil
	w.B = &w.builder
	w.B.Reset(src)
}

// Decoded returns the result of Decode: the dictionary in src, for which the parser has
// returned end. It is never Incomplete.
func (w *Walk) Decoded(src []byte, end int) (*dict.Dict, error) {
	if end >= 0 && end < len(src) {
		end = w.Unexpected(src, end, "nothing after the dictionary")
	}
	if end == Failed {
		return nil, w.Err
	}
	return w.B.Dict(), nil
}

// Small reports whether w may be kept for the next record.
func (w *Walk) Small() bool { return w.Scratch() <= keep }
