package crashfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
)

// Harm damages one of the files with these names, or two that have the same extension,
// and says what it did; "" where nothing has changed.
func (f *FS) Harm(rng *rand.Rand, names []string) (what string) {
	name := names[rng.IntN(len(names))]
	other := names[rng.IntN(len(names))]
	before := f.Get(name)
	size := len(before)
	at := 0
	if size > 0 {
		at = rng.IntN(size)
		if used := len(bytes.TrimRight(before, "\x00")); used > 0 && rng.IntN(16) > 0 {
			at = rng.IntN(used) // not in space that was allocated ahead
		}
	}
	end := min(size, at+1+rng.IntN(2000))
	put := func(b []byte) { f.Damage(name, func(old []byte) []byte { copy(old[at:end], b); return old }) }
	base := path.Base(name)
	switch rng.IntN(12) {
	case 0, 1:
		if size == 0 {
			return ""
		}
		put([]byte{before[at] ^ 1<<rng.IntN(8)})
		what = fmt.Sprintf("a bit of byte %d of %s", at, base)
	case 2:
		put(make([]byte, end-at))
		what = fmt.Sprintf("zeros from %d to %d of %s", at, end, base)
	case 3:
		f.Damage(name, func(b []byte) []byte { return b[:at] })
		what = fmt.Sprintf("%s cut at %d", base, at)
	case 4:
		f.Damage(name, func(b []byte) []byte { return b[:0] })
		what = base + " empty"
	case 5:
		f.Delete(name)
		return "without " + base
	case 6:
		put(random(rng, end-at))
		what = fmt.Sprintf("noise from %d to %d of %s", at, end, base)
	case 7:
		f.Damage(name, func(b []byte) []byte { return append(b, random(rng, 1+rng.IntN(9000))...) })
		what = "noise after " + base
	case 8: // a write that went elsewhere
		put(f.Get(other)[min(at, len(f.Get(other))):])
		what = fmt.Sprintf("%s from %d to %d in %s", path.Base(other), at, end, base)
	case 9:
		copied := path.Join(path.Dir(name), another(rng, base))
		if copied == name || f.Get(copied) != nil {
			return ""
		}
		f.Put(copied, before)
		return path.Base(copied) + ", a copy of " + base
	default:
		if path.Ext(other) != path.Ext(name) {
			return ""
		}
		b := f.Get(other)
		f.Damage(name, func([]byte) []byte { return b })
		what = path.Base(other) + " as " + base
		if rng.IntN(2) == 0 {
			f.Damage(other, func([]byte) []byte { return slices.Clone(before) })
			what += ", and the other way"
		}
	}
	if bytes.Equal(before, f.Get(name)) {
		return ""
	}
	return what
}

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// another returns a file's name with another number, if it has one.
func another(rng *rand.Rand, base string) string {
	isDigit := func(r rune) bool { return '0' <= r && r <= '9' }
	from := bytes.IndexFunc([]byte(base), isDigit)
	if from < 0 {
		return base
	}
	to := from
	for to < len(base) && isDigit(rune(base[to])) {
		to++
	}
	n, err := strconv.Atoi(base[from:to])
	if err != nil {
		return base
	}
	return fmt.Sprintf("%s%0*d%s", base[:from], to-from, max(1, n+rng.IntN(6)-2), base[to:])
}
