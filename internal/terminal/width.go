package terminal

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const (
	ellipsis = "…"

	// emojiStyle follows a character that some terminals show wide then.
	emojiStyle = '\ufe0f'
)

// Columns returns how many columns a visible text takes on a terminal, at most.
func Columns(s string) (n int) {
	if len(s) == utf8.RuneCountInString(s) { // ASCII
		return len(s)
	}
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case r < 0x300 || r == emojiStyle:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// Shorten returns a visible text that takes at most so many columns: where it takes more,
// its middle is left out, as names differ at their ends.
func Shorten(s string, columns int) string {
	if Columns(s) <= columns {
		return s
	}
	if columns <= 1 {
		return ellipsis[:len(ellipsis)*max(columns, 0)]
	}
	from, taken := 0, 0
	for i, r := range s {
		if taken += runeColumns(r); taken > columns/2 {
			from = i
			break
		}
	}
	to, rest := len(s), columns-1-Columns(s[:from])
	for to > from {
		r, size := utf8.DecodeLastRuneInString(s[:to])
		n := runeColumns(r)
		if n > rest {
			break
		}
		rest -= n
		to -= size
	}
	for to < len(s) { // a mark needs what it stands on
		r, size := utf8.DecodeRuneInString(s[to:])
		if runeColumns(r) > 0 {
			break
		}
		to += size
	}
	return s[:from] + ellipsis + s[to:]
}
