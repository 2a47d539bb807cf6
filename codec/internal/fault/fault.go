// Package fault words what codecs say alike: limits and paths.
package fault

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes says that a record is over Limits.RecordBytes.
func Bytes(limit int) string { return over(limit, "bytes", "--max-record") }

// Levels says that a record is over Limits.Depth.
func Levels(limit int) string { return over(limit, "levels", "--max-depth") }

// Items says that a record is over Limits.Items.
func Items(limit int) string { return over(limit, "keys and values", "--max-items") }

// Digits says that an integer is over Limits.Digits.
func Digits(limit int) string { return over(limit, "digits of an integer", "--max-digits") }

//go:noinline
func over(limit int, what, option string) string {
	return fmt.Sprintf("the record has more than %d %s; %s raises the limit", limit, what, option)
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
