package walk

import (
	"fmt"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// Fail makes the parser's error. It returns Failed. It and others that are rare are
// kept out of the functions that call them.
//
//go:noinline
func (w *Walk) Fail(buf []byte, code fault.Code, offset int, msg string) int {
	w.Err = &codec.SyntaxError{Codec: w.format.Name(), Code: code, Offset: offset, Path: w.path(buf), Msg: msg}
	return Failed
}

// Unexpected fails because the bytes at i are not what is expected.
func (w *Walk) Unexpected(buf []byte, i int, want string) int {
	return w.Fail(buf, fault.Malformed, i, "want "+want+", got "+w.describe(buf, i))
}

func (w *Walk) describe(buf []byte, i int) string {
	if i >= len(buf) {
		return "the end"
	}
	return w.format.Describe(buf, i)
}

// Truncated fails because buf is all that there is of the record.
func (w *Walk) Truncated(buf []byte) int {
	want := "a dictionary"
	switch {
	case w.Pos < len(buf):
		want = "the rest of " + w.describe(buf, w.Pos)
	case len(w.Frames) > 0:
		switch f := &w.Frames[len(w.Frames)-1]; {
		case !f.IsDict:
			want = "an item"
		case w.AtKey:
			want = "a key"
		default:
			want = "a value"
		}
	}
	return w.CutOff(buf, want)
}

// CutOff is Truncated if something else is expected.
func (w *Walk) CutOff(buf []byte, want string) int {
	return w.Fail(buf, fault.Truncated, len(buf), "want "+want+", got the end")
}

// NotADictionary fails because the record begins differently.
func (w *Walk) NotADictionary(buf []byte, i int) int {
	w.Frames = w.Frames[:0]
	w.Fail(buf, fault.NotADictionary, i, "want a dictionary, got "+w.describe(buf, i))
	w.Err.Hint = `wrap it, as in {"value": …}`
	return Failed
}

// TooManyDigits fails because of the integer at i.
func (w *Walk) TooManyDigits(buf []byte, i int) int {
	return w.Fail(buf, fault.OverLimit, i, wording.Digits(w.Lim.Digits))
}

// duplicate fails because f's last key, or the set's item v, came before.
func (w *Walk) duplicate(buf []byte, f *Frame, v dict.Value) {
	what, at := f.key()
	w.Fail(buf, fault.DuplicateKey, at, "the "+what+" "+wording.Quote(v)+" comes twice")
}

// unhashable fails because f's last key, or the set's item, can't be one.
func (w *Walk) unhashable(buf []byte, f *Frame, err error) {
	what, at := f.key()
	w.Fail(buf, fault.Malformed, at, "want a "+what+" that is hashable, got a "+wording.Unhashable(err))
}

// key names what f has to hash, and says where its last one begins, or, of a set,
// ends.
func (f *Frame) key() (what string, at int) {
	if f.IsSet() {
		return "set's item", int(f.KeyEnd)
	}
	return "key", int(f.KeyAt)
}

// BadUTF8 fails because of the first byte of buf[i:end] that is not UTF-8.
func (w *Walk) BadUTF8(buf []byte, i, end int) int {
	i += wording.NotUTF8(buf[i:end])
	w.Fail(buf, fault.Malformed, i, fmt.Sprintf("want UTF-8, got byte 0x%02x", buf[i]))
	w.Err.Hint = w.format.TextHint()
	return Failed
}

// path names the value in hand by the keys and indices that lead to it.
func (w *Walk) path(buf []byte) string {
	var path wording.Path
	for i := range w.Frames {
		switch f := &w.Frames[i]; {
		case f.Kind == dict.KindTagged:
		case !f.IsDict:
			path.Index(f.N())
		case f.InKey || w.AtKey && i == len(w.Frames)-1 || f.N() == 0: // a key, which names no value yet
			return path.String()
		default:
			path.Key(w.keyText(buf[f.KeyAt:f.KeyEnd]))
		}
	}
	return path.String()
}

// keyText returns the text of a key, or the repr of one that is no string.
func (w *Walk) keyText(key []byte) []byte {
	d, err := w.format.Decode(w.format.Pair(key), codec.Limits{RecordBytes: -1, Depth: -1, Items: -1, Digits: -1})
	if err != nil {
		return []byte("?") // it has been read
	}
	for k := range d.All() {
		if text, ok := k.TextBytes(); ok {
			return text
		}
		return []byte(k.String())
	}
	return nil
}
