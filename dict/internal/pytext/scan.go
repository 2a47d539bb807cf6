package pytext

import "math/bits"

// plain has the characters that are written unchanged with either quote: printable ASCII
// except the apostrophe and the backslash. The double quote is one of them, since it is not
// the quote where it would need a backslash.
var plain = func() (t [256]bool) {
	for c := ' '; c <= '~'; c++ {
		t[c] = c != '\'' && c != '\\'
	}
	return t
}()

const (
	each = 0x0101010101010101 // each byte of a word
	high = 0x80 * each        // the highest bit of each byte
)

// notPlain returns a word whose lowest bit is in the lowest byte of x that is
// not plain, or 0.
//
// A borrow or carry leaves a byte only where the same term finds that byte, so
// what it may falsify is above one that is right.
func notPlain(x uint64) uint64 {
	apostrophe := x ^ '\''*each
	backslash := x ^ '\\'*each
	return (x | // at least 0x80
		(x + each) | // 0x7F
		(x - ' '*each) | // less than a space
		(apostrophe - each) | // zero
		(backslash - each)) & high
}

// plainPrefix returns the length of what of b is plain.
func plainPrefix(b []byte) int {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		if m := notPlain(load64(b[i : i+8])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(b) && plain[b[i]] {
		i++
	}
	return i
}

// printableRun returns an index up to which s, from i on, is plain or printable
// in every version. There may be more: it does not look at the last seven bytes.
func printableRun[T ~string | ~[]byte](s T, i int) int {
	// The steps are constants, not computed, so that the processor can begin
	// the next one before the current one is done.
	for len(s)-i >= 8 {
		x := load64(s[i : i+8])
		switch {
		case x&0x80 == 0:
			m := notPlain(x)
			switch {
			case m == 0:
				i += 8
				continue
			case m&0x80 != 0:
				return i
			}
			if x&0x8000 != 0 {
				i++
			} else {
				i += bits.TrailingZeros64(m) / 8
			}
		case x&0xC0E0 == 0x80C0:
			const full = uint32(fullBlocks2)
			if full>>(x&0x1F)&1 != 0 {
				if x&0xC0E0C0E0C0E00000 == 0x80C080C080C00000 &&
					full>>(x>>16&0x1F)&(full>>(x>>32&0x1F))&(full>>(x>>48&0x1F))&1 != 0 {
					i += 8
					continue
				}
				i += 2
				continue
			}
			if r := rune2(x); r < 0x80 || !printableInAll(r) {
				return i
			}
			i += 2
		case x&0xC0C0F0 == 0x8080E0:
			if fullBlocks3[x&0xF]>>(x>>8&0x3F)&1 != 0 {
				if x&0xC0C0F0000000 == 0x8080E0000000 && fullBlocks3[x>>24&0xF]>>(x>>32&0x3F)&1 != 0 {
					i += 6
					continue
				}
				i += 3
				continue
			}
			if r := rune3(x); r < 0x800 || !printableInAll(r) {
				return i
			}
			i += 3
		case x&0xC0C0C0F8 == 0x808080F0:
			if r := rune4(x); r < 0x10000 || !printableInAll(r) {
				return i
			}
			i += 4
		default:
			return i
		}
	}
	return i
}

// contains reports whether s holds the ASCII character c.
func contains[T ~string | ~[]byte](s T, c byte) bool {
	for ; len(s) >= 8; s = s[8:] {
		x := load64(s[:8]) ^ uint64(c)*each
		if (x-each)&^x&high != 0 {
			return true
		}
	}
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}

// decode returns the character whose UTF-8 or WTF-8 the bytes of x begin with,
// lowest first, and its length. See AppendString for what is neither. It is
// not for ASCII.
func decode(x uint64) (r rune, size int) {
	if x&0xC0E0 == 0x80C0 {
		if r := rune2(x); r >= 0x80 {
			return r, 2
		}
	}
	if x&0xC0C0F0 == 0x8080E0 {
		if r := rune3(x); r >= 0x800 {
			return r, 3
		}
	}
	if x&0xC0C0C0F8 == 0x808080F0 {
		if r := rune4(x); r >= 0x10000 && r <= 0x10FFFF {
			return r, 4
		}
	}
	return 0xDC00 + rune(x&0xFF), 1
}

// rune2 returns the character that the lowest two bytes of x are.
func rune2(x uint64) rune { return rune(x&0x1F<<6 | x>>8&0x3F) }

// rune3 returns the character that the lowest three bytes of x are.
func rune3(x uint64) rune { return rune(x&0xF<<12 | x>>2&0xFC0 | x>>16&0x3F) }

// rune4 returns the character that the lowest four bytes of x are.
func rune4(x uint64) rune {
	return rune(x&7<<18 | x<<4&0x3F000 | x>>10&0xFC0 | x>>24&0x3F)
}

// word returns the eight bytes of s from i on, the first one lowest, and zeros beyond the
// end.
func word[T ~string | ~[]byte](s T, i int) uint64 {
	switch {
	case len(s)-i >= 8:
		return load64(s[i : i+8])
	case len(s) >= 8:
		return load64(s[len(s)-8:]) >> (8 * (i + 8 - len(s)))
	}
	var x uint64
	for j := len(s) - 1; j >= i; j-- {
		x = x<<8 | uint64(s[j])
	}
	return x
}

// load64 returns the first eight bytes of s, the first one lowest.
func load64[T ~string | ~[]byte](s T) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// load32 returns the first four bytes of s, the first one lowest.
func load32[T ~string | ~[]byte](s T) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}
