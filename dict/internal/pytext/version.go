// Package pytext writes text and numbers as CPython's repr does, byte for byte.
// It is the leaves under dict.Repr.
//
//	pytext.AppendString(nil, "it's \u2028", pytext.Py313) // "it's \u2028"
//	pytext.AppendFloat(nil, 1e16)                         // 1e+16
//	pytext.AppendBytes(nil, []byte("\x00'"))              // b"\x00'"
//
// Only strings depend on the version of CPython: each version escapes what its
// version of Unicode doesn't call printable. Everything else has been the same
// since 3.8.
//
// The functions append to dst and return it, allocate only to grow it, keep no
// reference to their arguments, and may be called by several goroutines at
// once. What is appended is always valid UTF-8 without control characters. The
// source must not share memory with dst's free capacity.
package pytext

import "strconv"

//go:generate go run ./gen $UNICODE_DATA

// A Version is a minor version of CPython 3: 8 is 3.8. Any value may be used;
// one that is not among the constants counts as the nearest of them.
type Version uint8

// The versions of CPython whose tables are here.
const (
	Py38  Version = 8
	Py39  Version = 9
	Py310 Version = 10
	Py311 Version = 11
	Py312 Version = 12
	Py313 Version = 13
	Py314 Version = 14
)

// String returns the version as people write it, such as "3.13".
func (v Version) String() string { return "3." + strconv.Itoa(int(v)) }

// Unicode returns the version of Unicode in v: what Python calls
// unicodedata.unidata_version, such as "15.1.0".
func (v Version) Unicode() string { return unicodeVersions[v.unicode()] }

// unicode returns the position of v's version of Unicode in the table.
func (v Version) unicode() uint8 { return unicodeOf[min(max(v, Py38), Py314)] }

var unicodeOf = [...]uint8{
	Py38: 0, Py39: 1, Py310: 1, Py311: 2, Py312: 3, Py313: 4, Py314: 5,
}

// IsPrintable reports whether str.isprintable is true for the one character r.
// It is false for surrogates and for what is no code point.
func IsPrintable(v Version, r rune) bool {
	return printableInAll(r) || printableLater(v, r)
}

const pageBits = 7

// printableInAll reports whether r is printable in every version. It returns false beyond
// the last page.
func printableInAll(r rune) bool {
	p := uint32(r) >> pageBits
	if p >= uint32(len(basePages)) {
		return false
	}
	w := uint32(basePages[p])<<(pageBits-6) | uint32(r)>>6&(1<<(pageBits-6)-1)
	return baseWords[w]>>(uint32(r)&63)&1 != 0
}

// A laterRange is n code points from lo that are printable since a version of
// Unicode, given by its position in unicodeVersions.
type laterRange struct {
	lo    uint32
	n     uint16
	since uint8
}

// printableLater answers for what printableInAll misses.
func printableLater(v Version, r rune) bool {
	// Find the last range that begins at or before r.
	i, j := 0, len(laterRanges)
	for i < j {
		m := int(uint(i+j) >> 1)
		if laterRanges[m].lo <= uint32(r) {
			i = m + 1
		} else {
			j = m
		}
	}
	if i == 0 {
		return false
	}
	l := laterRanges[i-1]
	return uint32(r)-l.lo < uint32(l.n) && l.since <= v.unicode()
}
