package walk

import (
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
)

// Build begins to build f's next key, or a set's item.
func (w *Walk) Build(buf []byte, f *Frame) {
	if depth := len(w.Frames); w.B == nil || w.building == depth {
		w.builder.Reset(buf)
		w.B, w.building = &w.builder, depth
	}
	f.item = uint32(w.B.Len())
}

// Hash adds the item of f that has been built and ends at end to f's keys. It
// returns false where that can't be one, or was there.
func (w *Walk) Hash(buf []byte, f *Frame, end int) bool {
	f.KeyEnd = uint32(end)
	v := w.B.At(int(f.item))
	if err := dict.Hashable(v); err != nil {
		w.unhashable(buf, f, err)
		return false
	}
	twice := false
	if text, ok := v.TextBytes(); ok {
		twice = w.Keys.AddOwn(&f.Keys, buf, append(w.Keys.Own(), text...))
	} else if key, ok := w.B.AppendKey(w.Keys.Own(), int(f.item)); ok {
		twice = w.Keys.AddOther(&f.Keys, buf, key)
	}
	if twice {
		w.duplicate(buf, f, v)
		return false
	}
	if w.building == len(w.Frames) {
		w.B, w.building = nil, 0
	}
	return true
}

// TextKey reads a key of f, the string at i of size bytes from k on.
func (w *Walk) TextKey(buf []byte, f *Frame, i, k int, size uint64) int {
	if size > uint64(len(buf)-k) {
		return w.Short(buf, i, k, size)
	}
	end := k + int(size)
	if !utf8.Valid(buf[k:end]) {
		return w.BadUTF8(buf, k, end)
	}
	if w.Keys.Add(&f.Keys, buf, k, end) {
		f.KeyEnd = uint32(end)
		w.duplicate(buf, f, dict.String(string(buf[k:end])))
		return Failed
	}
	if w.B != nil {
		w.B.Text(k, end-k)
	}
	return end
}
