package dict

import "unicode/utf8"

// toWTF8 appends s to dst as WTF-8: valid UTF-8 and lone surrogates are kept, and any
// other byte becomes the lone surrogate U+DC00+b. It reports whether the result has lone
// surrogates.
func toWTF8(dst []byte, s string) (text []byte, surrogates bool) {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			r, size = surrogateAt(s[i:])
			if size == 0 {
				r, size = 0xDC00+rune(s[i]), 1
			}
		}
		i += size
		if r < surrogateMin || r > surrogateMax {
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = AppendSurrogate(dst, r)
		surrogates = true
	}
	return dst, surrogates
}

const (
	surrogateMin = 0xD800
	surrogateMax = 0xDFFF
)

// surrogateAt returns the surrogate at the beginning of s, or size 0.
func surrogateAt(s string) (r rune, size int) {
	if len(s) < 3 || s[0] != 0xED || s[1] < 0xA0 || s[1] > 0xBF || s[2] < 0x80 || s[2] > 0xBF {
		return 0, 0
	}
	return 0xD000 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), 3
}

// hasSurrogatePairs reports whether text, in WTF-8, has a high surrogate directly before
// a low one.
func hasSurrogatePairs(text []byte) bool {
	for i := 0; i+6 <= len(text); i++ {
		if text[i] == 0xED && text[i+1]&0xF0 == 0xA0 && text[i+3] == 0xED && text[i+4]&0xF0 == 0xB0 {
			return true
		}
	}
	return false
}

// AppendSurrogate appends the WTF-8 form of a lone surrogate, U+D800 to
// U+DFFF, to dst. It is for codecs.
func AppendSurrogate(dst []byte, r rune) []byte {
	return append(dst, 0xED, 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
}
