package cbor

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// An arg is a scalar within a tagged value.
type arg struct {
	kind  dict.Kind // int, float, string, bytes, or null for any other
	minus bool
	n     uint64 // an int: n, or -1 - n
	big   []byte // an int of any size instead: the content of tag 2 or 3
	f     float64
	text  []byte
}

// maxArgs is one more than any tagged value has, the name included.
const maxArgs = 9

// arg reads the scalar at k, an argument of the item at i. It returns where the scalar
// ends, incomplete or failed.
func (p *parser) arg(buf []byte, i, k int) (a arg, end int) {
	if k >= len(buf) {
		return a, p.Stop(buf, i, k+1)
	}
	c := buf[k]
	end, n := p.argumentOf(buf, i, k)
	if end < 0 {
		return a, end
	}
	switch major := c >> 5; major {
	case unsigned, negative:
		return arg{kind: dict.KindInt, n: n, minus: major == negative}, end
	case byteString, textString:
		text, end := p.argString(buf, i, k, end, n)
		a = arg{kind: dict.KindBytes, text: text}
		if end >= 0 && major == textString {
			if !utf8.Valid(text) {
				return a, p.BadUTF8(buf, end-len(text), end)
			}
			a.kind = dict.KindString
		}
		return a, end
	case tag:
		switch n {
		case tagBignum, tagNegBignum, tagWTF8:
		case tagObject:
			const object = "\x82\x63" + objStr
			if have := buf[end:]; !strings.HasPrefix(object, string(have[:min(len(have), len(object))])) {
				return a, p.Unexpected(buf, k, "a number or a string")
			}
			end += len(object)
		default:
			return a, p.Unexpected(buf, k, "a number or a string")
		}
		if end >= len(buf) {
			return a, p.Stop(buf, i, end+1)
		}
		if buf[end]>>5 != byteString {
			return a, p.Unexpected(buf, end, "bytes")
		}
		head := end
		from, size := p.argumentOf(buf, i, head)
		if from < 0 {
			return a, from
		}
		text, end := p.argString(buf, i, head, from, size)
		if end < 0 {
			return a, end
		}
		if n == tagBignum || n == tagNegBignum {
			return arg{kind: dict.KindInt, big: text, minus: n == tagNegBignum}, end
		}
		switch _, pairs, ok := scanSurrogates(text); {
		case n == tagWTF8 && (!ok || pairs):
			return a, p.Fail(buf, fault.Malformed, k, "want "+wantWTF8)
		case !ok:
			return a, p.Fail(buf, fault.Malformed, k, "want "+wantSurrogates)
		}
		return arg{kind: dict.KindString, text: text}, end
	case simple:
		if f, ok := float(c, n); ok {
			return arg{kind: dict.KindFloat, f: f}, end
		}
	}
	return a, p.Unexpected(buf, k, "a number or a string")
}

// argString returns the string of the given size at from, whose head is at k.
func (p *parser) argString(buf []byte, i, k, from int, size uint64) (text []byte, end int) {
	if buf[k]&31 == indefinite {
		return nil, p.Unexpected(buf, k, "a string of definite length")
	}
	if size > uint64(len(buf)-from) {
		return nil, p.Short(buf, i, from, size)
	}
	end = from + int(size)
	return buf[from:end], end
}

// argList reads the list or map of scalars at k into p.args. It returns their number, and
// where the list ends, incomplete or failed.
func (p *parser) argList(buf []byte, i, k int, major byte) (n, end int) {
	if k >= len(buf) {
		return 0, p.Stop(buf, i, k+1)
	}
	c := buf[k]
	if c>>5 != major {
		what := "a list"
		if major == mapping {
			what = "a map"
		}
		return 0, p.Unexpected(buf, k, what)
	}
	end, count := p.argumentOf(buf, i, k)
	if end < 0 {
		return 0, end
	}
	if major == mapping && count < math.MaxInt32 {
		count *= 2
	}
	if c&31 != indefinite && count > maxArgs {
		return 0, p.Fail(buf, fault.Malformed, k, "want fewer items after the tag")
	}
	for c&31 == indefinite || n < int(count) {
		if c&31 == indefinite {
			if end >= len(buf) {
				return 0, p.Stop(buf, i, end+1)
			}
			if buf[end] == brk && (major == array || n%2 == 0) {
				return n, end + 1
			}
			if n == maxArgs {
				return 0, p.Fail(buf, fault.Malformed, k, "want fewer items after the tag")
			}
		}
		if p.args[n], end = p.arg(buf, i, end); end < 0 {
			return 0, end
		}
		n++
	}
	return n, end
}

// int returns an int that fits in int64.
func (a *arg) int() (int64, bool) {
	if a.kind != dict.KindInt || a.big != nil || a.n > math.MaxInt64 {
		return 0, false
	}
	if a.minus {
		return -1 - int64(a.n), true
	}
	return int64(a.n), true
}

// number returns an int or a float as a float.
func (a *arg) number() (float64, bool) {
	switch {
	case a.kind == dict.KindFloat:
		return a.f, true
	case a.kind != dict.KindInt || a.big != nil:
		return 0, false
	case a.minus:
		return -1 - float64(a.n), true
	default:
		return float64(a.n), true
	}
}
