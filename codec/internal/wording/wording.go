// Package wording has the error texts that codecs share: about limits, keys, text and paths.
package wording

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
)

// Bytes says that a record is over Limits.RecordBytes.
func Bytes(limit int) string { return over(limit, "bytes", "Limits.RecordBytes") }

// Levels says that a record is over Limits.Depth.
func Levels(limit int) string { return over(limit, "levels", "Limits.Depth") }

// Items says that a record is over Limits.Items.
func Items(limit int) string { return over(limit, "keys and values", "Limits.Items") }

// Digits says that an integer is over Limits.Digits.
func Digits(limit int) string { return over(limit, "digits of an integer", "Limits.Digits") }

//go:noinline
func over(limit int, what, option string) string {
	return fmt.Sprintf("the record has more than %d %s; %s raises the limit", limit, what, option)
}

// Quote returns a key as messages name it.
func Quote(key dict.Value) string {
	if text, ok := key.TextBytes(); ok {
		return strconv.Quote(string(text))
	}
	return key.String()
}

// Unhashable names the kind that err, of dict.Hashable, speaks of.
func Unhashable(err error) string {
	var hash *dict.HashError
	if errors.As(err, &hash) {
		return hash.Kind.String()
	}
	return "value"
}

// NotUTF8 returns the offset of the first byte of text that is not UTF-8, or the length of
// text.
func NotUTF8(text []byte) int {
	i := 0
	for i < len(text) {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	return i
}

// Char names the character of a text at i.
func Char(text []byte, i int) string {
	if i >= len(text) {
		return "the end"
	}
	switch r, size := utf8.DecodeRune(text[i:]); {
	case r == utf8.RuneError && size < 2:
		return fmt.Sprintf("byte 0x%02x", text[i])
	case r == '\n':
		return "a line feed"
	case r < ' ':
		return fmt.Sprintf("control character 0x%02x", r)
	default:
		return strconv.QuoteRune(r)
	}
}

// maxPath is how long a path may become, in bytes, before its rest is left out.
const maxPath = 200

// A Path is the way to a value, as in /user/tags/2. The zero Path is the top.
type Path struct{ b strings.Builder }

// Key goes down to the value of a key.
func (p *Path) Key(text []byte) {
	if p.next() {
		p.b.Write(text)
	}
}

// Index goes down to an item.
func (p *Path) Index(i int) {
	if p.next() {
		p.b.WriteString(strconv.Itoa(i))
	}
}

// next begins a part, unless the path is too long.
func (p *Path) next() bool {
	const rest = "/…"
	switch {
	case p.b.Len() <= maxPath:
		p.b.WriteByte('/')
		return true
	case !strings.HasSuffix(p.b.String(), rest):
		p.b.WriteString(rest)
	}
	return false
}

// String returns the path.
func (p *Path) String() string { return p.b.String() }
