// Package walk is the part that parsers of binary formats share, in which each item begins
// with a head that has its kind and length. It keeps the open containers and their keys,
// checks limits, stops if more bytes are needed, and makes errors. The codecs parse the
// heads.
package walk

import (
	"math"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/internal/keyset"
	"github.com/dictwire/dictwire/codec/internal/scratch"
	"github.com/dictwire/dictwire/codec/internal/shape"
	"github.com/dictwire/dictwire/codec/internal/wording"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// Results of reading functions, which otherwise return the offset after what they have read.
const (
	Incomplete = -1
	Failed     = -2 // Walk.Err says why
)

// A Walk is the state of a parser within a record. All offsets count from the record's first
// byte. Scanners and Decode use the same parser: with a Builder it decodes, without one it
// only checks.
//
// It stops only between items: one whose head, or whose body, has not come whole
// is read again from its first byte. A string is not looked into before it is
// whole, so that costs the same each time.
type Walk struct {
	Lim    codec.Limits  // effective
	MaxInt uint64        // the largest integer with Limits.Digits digits, or all
	B      *dict.Builder // nil: check only

	Pos    int  // everything before it has been read
	AtKey  bool // and there, a key is to begin
	items  int
	Frames []Frame // the open containers
	Keys   keyset.Set
	shapes shape.Shapes
	Err    *codec.SyntaxError

	// Text is scratch memory for content that is not in the record as it is.
	Text []byte

	// The dictionary that is decoded is built in builder. A key, or a set's item,
	// that is no plain string is built there even where the parser only checks:
	// builder is B then while building > 0, the depth of the container whose key it
	// is.
	builder  dict.Builder
	building int

	format   Format
	patience scratch.Patience

	resumes bool // see codec.Scanner's Resume
	passing bool // a bad record has not ended
	pass    pass
}

// A Format is what faults say of a format.
type Format interface {
	codec.Codec

	// Describe names the item whose head is at i.
	Describe(buf []byte, i int) string

	// Head returns the head at i, as far as it has arrived.
	Head(buf []byte, i int) Head

	// Pair returns a dictionary of that key and null.
	Pair(key []byte) []byte

	// TextHint is the remedy for strings that are not UTF-8.
	TextHint() string
}

// A Frame is an open container.
type Frame struct {
	Kind     dict.Kind
	Endless  bool // of indefinite length
	IsDict   bool
	Hashable bool   // it is part of a key: lists are tuples, sets frozensets
	InKey    bool   // of a dictionary: a key is being read, other than a usual one
	Total    uint32 // items, or pairs; of an indefinite length: many
	Left     uint32 // of them, those that have not begun; of a set or list, ended
	place    uint32 // what Builder.Close wants
	item     uint32 // the place of the key, or a set's item, that is being built
	KeyAt    uint32 // where the last key begins
	KeyEnd   uint32 // and ends
	Keys     keyset.Frame
}

// IsSet reports whether f is a set or a frozenset.
func (f *Frame) IsSet() bool { return f.Kind == dict.KindSet || f.Kind == dict.KindFrozenSet }

// N returns how many items, or keys, f has so far.
func (f *Frame) N() int { return int(f.Total - f.Left) }

// Limit makes w the walk of a parser of the format f, within limits.
func (w *Walk) Limit(f Format, lim codec.Limits) {
	w.format, w.Lim, w.MaxInt = f, lim.Effective(), math.MaxUint64
	if w.Lim.Digits < 20 {
		w.MaxInt = 1
		for range w.Lim.Digits {
			w.MaxInt *= 10
		}
		w.MaxInt--
	}
}

// Fits reports whether all integers of 64 bits are within Limits.Digits.
func (w *Walk) Fits() bool { return w.MaxInt == math.MaxUint64 }

// reset makes w ready for the next record.
func (w *Walk) reset() {
	w.Pos, w.items, w.AtKey = 0, 0, false
	w.Frames = w.Frames[:0]
	w.Keys.Reset()
	if w.building > 0 {
		w.B, w.building = nil, 0
	}
}

// Begun returns what a parser is to read on in: buf, which begins with the record's
// first byte, as far as a record may go. What needs more is too large.
func (w *Walk) Begun(buf []byte) []byte {
	if len(buf) > w.Lim.RecordBytes {
		buf = buf[:w.Lim.RecordBytes]
	}
	if w.building > 0 {
		w.B.Extend(buf)
	}
	return buf
}

// Stop records that the parser continues at i. need is the least length of the record.
//
//go:noinline
func (w *Walk) Stop(buf []byte, i, need int) int {
	w.Pos = i
	if need > w.Lim.RecordBytes {
		return w.Over(buf, fault.TooLarge, i)
	}
	return Incomplete
}

// Short stops at i because of a body of size bytes from k on that has not come
// whole.
func (w *Walk) Short(buf []byte, i, k int, size uint64) int {
	return w.Stop(buf, i, k+int(min(size, uint64(math.MaxInt32-k))))
}

// Open begins a container whose head, at i, ends at k and says that it has count
// items, or pairs, unless it is endless. It returns nil where that is over a limit.
func (w *Walk) Open(buf []byte, i, k int, kind dict.Kind, count uint64, endless bool) *Frame {
	n := len(w.Frames)
	if n >= w.Lim.Depth {
		w.Over(buf, fault.TooDeep, i)
		return nil
	}
	if !endless {
		bytes := count
		if kind.IsDict() {
			bytes *= 2
		}
		// Each item has a byte at least.
		if count > math.MaxInt32 || bytes > uint64(w.Lim.RecordBytes-k) {
			w.Over(buf, fault.TooLarge, i)
			return nil
		}
		if !w.count(count, kind) {
			w.Over(buf, fault.OverLimit, i)
			return nil
		}
	}
	hashable := n > 0 && (w.Frames[n-1].Hashable || w.Frames[n-1].InKey || w.Frames[n-1].IsSet())
	if hashable {
		switch kind {
		case dict.KindList:
			kind = dict.KindTuple
		case dict.KindSet:
			kind = dict.KindFrozenSet
		default: // hashable, or its content has the reason why not
		}
	}
	if n == cap(w.Frames) {
		w.grow()
	}
	w.Frames = w.Frames[:n+1]
	f := &w.Frames[n]
	f.Kind, f.Endless, f.IsDict, f.Hashable, f.InKey = kind, endless, kind.IsDict(), hashable, false
	f.Total, f.Left = uint32(count), uint32(count)
	if f.IsDict || f.IsSet() {
		w.Keys.Open(&f.Keys)
	}
	if w.B != nil {
		f.place = uint32(w.buildOpen(kind))
	}
	return f
}

// OpenTop is Open for a dictionary of n pairs at the top, of which rest bytes have arrived
// after its head. It returns false, and has done nothing, unless the dictionary is only
// checked, and can't exceed a limit.
func (w *Walk) OpenTop(n, rest int) bool {
	if w.B != nil || cap(w.Frames) == 0 || 2*n > min(rest, w.Lim.Items) {
		return false
	}
	w.items = 2 * n
	w.Frames = w.Frames[:1]
	f := &w.Frames[0]
	f.Kind, f.Endless, f.IsDict, f.Hashable, f.InKey = dict.KindDict, false, true, false, false
	f.Total, f.Left = uint32(n), uint32(n)
	w.Keys.Open(&f.Keys)
	return true
}

//go:noinline
func (w *Walk) grow() { w.Frames = append(w.Frames, Frame{})[:len(w.Frames)] }

//go:noinline
func (w *Walk) buildOpen(kind dict.Kind) int {
	if kind == dict.KindTagged {
		return w.B.OpenTagged(dict.CBORTag)
	}
	return w.B.Open(kind)
}

// Close ends the innermost container, whose end is at i. It returns false where an
// endless one was over a limit.
func (w *Walk) Close(buf []byte, i int) bool {
	f := &w.Frames[len(w.Frames)-1]
	if f.Endless && !w.count(uint64(f.N()), f.Kind) {
		w.Over(buf, fault.OverLimit, i)
		return false
	}
	if f.IsDict || f.IsSet() {
		w.Keys.Close(&f.Keys)
	}
	if w.B != nil {
		w.B.Close(int(f.place), f.N())
	}
	w.Frames = w.Frames[:len(w.Frames)-1]
	return true
}

// CloseTop is Close for a dictionary at the top that is only checked, and not endless.
func (w *Walk) CloseTop() {
	w.Frames = w.Frames[:0]
	w.Keys.Reset()
}

// count adds n items, or pairs, to those of the record and reports whether they
// are within the limit.
func (w *Walk) count(n uint64, kind dict.Kind) bool {
	switch {
	case kind.IsDict():
		n *= 2
	case kind == dict.KindTagged:
		n = 0
	}
	w.items += int(n)
	return w.items <= w.Lim.Items
}

// Over fails because of the item at i, with which the record is over a limit.
//
//go:noinline
func (w *Walk) Over(buf []byte, code fault.Code, i int) int {
	switch code {
	case fault.TooDeep:
		return w.Fail(buf, code, i, wording.Levels(w.Lim.Depth))
	case fault.TooLarge:
		return w.Fail(buf, code, w.Lim.RecordBytes, wording.Bytes(w.Lim.RecordBytes))
	default:
		return w.Fail(buf, code, i, wording.Items(w.Lim.Items))
	}
}
